//! The callers' side: from sockets to requests that have one reading, and back.
//!
//! 1. A connection is taken by a worker ([`listen`], with what is written in batches in [`socket`]) and is HTTP/1.1
//!    or HTTP/2 ([`connection`]).
//! 2. Over HTTP/1 every byte passes the [`gate`], which lets through what [`head`] finds right, and writes interim
//!    answers past hyper ([`interim`]).
//! 3. Who waits for an answer, and the bounds of one that they do not take, is the [`caller`]'s; timers that nearly
//!    never ring are asked [`rarely`].

pub(super) mod caller;
pub(super) mod connection;
pub(super) mod gate;
pub(super) mod head;
pub(super) mod interim;
pub(super) mod listen;
pub(super) mod rarely;
pub(super) mod socket;
