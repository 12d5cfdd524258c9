//! What time and use do to a gateway: rows that come and go, keys that relieve each other. A gateway without
//! sockets, whose clock the tests move.

mod instance;
mod keys;
mod sign_ins;
