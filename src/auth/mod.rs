//! Who somebody is: [`digest`].

pub mod digest;
