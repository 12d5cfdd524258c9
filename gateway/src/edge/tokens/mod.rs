//! Who calls: a token that was examined ([`access`]), kept for a while ([`cache`]), and whether its person is
//! connected ([`active`]). For both the store is asked, within bounds ([`asking`]).

pub(super) mod access;
mod active;
pub(super) mod asking;
pub(super) mod cache;
