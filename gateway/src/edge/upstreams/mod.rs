//! The operator's servers: which of them are well ([`wellbeing`]), connections to them ([`pool`]), and a request's
//! way there and back ([`forward`]) with its [`headers`] and bodies, or as a WebSocket ([`tunnel`]).

pub(super) mod forward;
pub(super) mod headers;
mod kept;
pub(super) mod pool;
pub(super) mod request_body;
pub(super) mod response_body;
pub(super) mod tunnel;
pub(super) mod wellbeing;
