//! Who calls: a token that was examined ([`access`]), kept for a while ([`cache`]), and whether its person is
//! connected ([`active`]).

pub(super) mod access;
mod active;
pub(super) mod cache;
