//! Many rows in one statement. SQLite is asked over a channel to a thread of its own, PostgreSQL over a
//! socket: either way the trip costs more than the row. So the rows of a whole transaction travel
//! together, as parameters of a `VALUES` list; its text is made once for each length.

use std::sync::OnceLock;

use super::db::{Conn, Value};

/// Longest list that a text is made for; a longer one is sent in pieces.
const LONGEST: usize = 32;

/// The type of a column: PostgreSQL wants it said, SQLite does not mind.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Text,
    Int,
}

/// A statement around a `VALUES` list: `head`, the list, `tail`.
pub(super) struct Rows {
    head: &'static str,
    columns: &'static [Column],
    tail: &'static str,
    texts: [OnceLock<&'static str>; LONGEST],
}

impl Rows {
    /// From parts that stand in the source: nothing that a caller sent gets into the text.
    pub(super) const fn new(head: &'static str, columns: &'static [Column], tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; LONGEST] }
    }

    /// Runs it for all rows; says how many rows of the table it changed.
    pub(super) async fn execute<'v>(
        &self,
        conn: &mut Conn<'_>,
        rows: impl Iterator<Item = Vec<Value<'v>>>,
    ) -> sqlx::Result<u64> {
        let width = self.columns.len();
        let values: Vec<Value<'v>> = rows.flatten().collect();
        let mut changed = 0;
        for piece in values.chunks(LONGEST * width) {
            changed += conn.execute(self.text(piece.len() / width), piece).await?;
        }
        Ok(changed)
    }

    /// The text for so many rows, from 1 to [`LONGEST`].
    fn text(&self, rows: usize) -> &'static str {
        self.texts[rows - 1].get_or_init(|| {
            let mut parameter = 0;
            let lists: Vec<String> = (0..rows)
                .map(|_| {
                    let columns = self.columns.iter().map(|column| {
                        parameter += 1;
                        match column {
                            Column::Text => format!("CAST(${parameter} AS TEXT)"),
                            Column::Int => format!("CAST(${parameter} AS BIGINT)"),
                        }
                    });
                    format!("({})", columns.collect::<Vec<_>>().join(", "))
                })
                .collect();
            // Kept for ever: at most 32 texts for each statement, and the drivers cache by text.
            Box::leak(format!("{} VALUES {} {}", self.head, lists.join(", "), self.tail).into_boxed_str())
        })
    }
}
