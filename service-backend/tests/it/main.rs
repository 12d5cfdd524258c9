//! The service against a scripted gateway, which is another program and so may be faked; the whole
//! story with the real one is told in `e2e/`.

mod completing;
mod exchange;
mod gateway;
mod linked;
mod linked_strangers;
mod linked_twice;
mod program;
mod refusals;
mod sessions;
mod starting;
mod step_up;
mod watching;
mod world;
