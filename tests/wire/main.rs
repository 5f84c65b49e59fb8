//! The gateway over real sockets: clients on one side, an upstream that keeps to a script on the other,
//! and between them only bytes.
//!
//! `support` has a parser and a server of its own, so that a misreading of ours does not hide behind
//! itself.

#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod support;

mod admin;
mod admin_access;
mod admin_document;
mod agent;
mod agent_peers;
mod auth;
mod bounds;
mod callback;
mod clients;
mod deliver;
mod forms;
mod forwarded;
mod gena;
mod held;
mod hostile;
mod identity;
mod limits;
mod many;
mod order_and_redelivery;
mod pace;
mod poll;
mod promises;
mod promtool;
mod proxy;
mod reload;
mod renew_unsubscribe;
mod shutdown;
mod smuggling;
mod subscribe;
mod tls;
mod trace;
mod upstreams;
mod webdav;
mod webhook;
mod xml;
