//! Pollgate: a gateway that turns a legacy server's callbacks into messages its clients can poll for.
//!
//! A client's request comes in at the public listener. If it is a subscription, its callback address is
//! replaced by the gateway's own and a mailbox is made; whatever it is, it goes on to the upstream. What
//! the upstream calls back with comes in at the callback listener, is kept as a message in that
//! mailbox, and leaves with the answer to the client's next poll, or is brought to a client that is called.
//!
//! # The map, in reading order
//!
//! - [`mailbox`]: the core. What a mailbox holds, what it may hold, and what leaves it; pure.
//! - [`store`]: all mailboxes, found by what the wire shows of them; it wakes the poll that waits.
//! - [`http1`]: HTTP/1.1 on a bare connection, strict and light.
//! - [`dialect`]: how a protocol family writes subscriptions and callbacks: [`dialect::rvp`], [`dialect::gena`],
//!   [`dialect::webdav`], [`dialect::webhook`].
//! - [`auth`]: who somebody is.
//! - [`tls`]: certificates and trust, and connections within TLS.
//! - [`config`]: file, environment and flags, checked as a whole.
//! - [`registry`]: the same settings as Windows has them, in `.reg` files.
//! - [`telemetry`]: the metrics, the logs, and the traffic as it goes by.
//! - [`gateway`]: between the wires: polls, callbacks, deliveries, and what is passed on.
//! - [`admin`]: metrics, health and the API, for operators.
//! - [`reload`]: a running gateway follows its configuration.
//! - [`agent`]: the client's side of the wire.
//! - [`doctor`]: looks at a machine as an administrator would, and says what to do.
//! - [`app`]: builds, starts and stops; the only place that knows everyone.
//! - [`demo`]: what it is for, in two acts, with a small legacy server of its own.
//! - [`cli`]: the command line, a file per subcommand.
//!
//! Beside them, [`clock`] is the one place that reads clocks, and [`watched`] reads files again when they change.
//!
//! # What holds between them
//!
//! - A module uses only modules that stand before it in the map, and none its neighbour ([`gateway`],
//!   [`admin`]); `tests/architecture.rs` holds the table against the code.
//! - Time and randomness come in from outside: [`mailbox`] is given both, and only [`clock`] reads a clock.
//! - A limit is decided in one function, [`mailbox::plan()`]; every store obeys it.
//! - A callback is answered 2xx only after its message is in the store; a message leaves it undelivered
//!   only with a reason, which is counted, logged, and told to the client as a gap.
//! - Nothing is connected to on a client's word alone: [`gateway::deliver`] holds every address against rules.
//! - A poll takes messages when it answers and not while it waits, and they stay in their mailbox until
//!   they are acknowledged.
//! - Only [`gateway`] names pingora, whose pools and load balancer it has for upstreams.
//! - Secrets (callback tokens, poll keys) show themselves on the wire only: their `Debug` hides them, and
//!   no metric and no log line has a client's id, body or credential in it.

pub mod admin;
pub mod agent;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod dialect;
pub mod doctor;
pub mod gateway;
pub mod http1;
pub mod mailbox;
pub mod registry;
pub mod reload;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod watched;
