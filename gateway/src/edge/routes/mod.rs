//! What the operator lets through: the [configuration](config) file, the table of [routes](route) that it becomes,
//! and the one form of a [`path`] that is looked up in it.

pub mod config;
pub(super) mod path;
pub mod route;
