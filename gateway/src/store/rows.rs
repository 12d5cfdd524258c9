//! Many rows in one statement. SQLite is asked over a channel to a thread of its own, PostgreSQL over a
//! socket: either way the trip costs more than the row. So the rows of a whole transaction travel
//! together, as parameters of a `VALUES` list; its text is made once for each of a few lengths.

use std::sync::OnceLock;

use super::db::{Conn, Value};

/// Lengths that texts are made for, longest first; a list of any length is sent in such pieces.
const LENGTHS: [usize; 6] = [32, 16, 8, 4, 2, 1];

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
    texts: [OnceLock<&'static str>; LENGTHS.len()],
}

impl Rows {
    /// From parts that stand in the source: nothing that a caller sent gets into the text.
    pub(super) const fn new(head: &'static str, columns: &'static [Column], tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; LENGTHS.len()] }
    }

    /// Runs it for all rows; says how many rows of the table it changed.
    pub(super) async fn execute<'v>(
        &self,
        conn: &mut Conn<'_>,
        rows: impl ExactSizeIterator<Item = Vec<Value<'v>>>,
    ) -> sqlx::Result<u64> {
        let mut left = rows.len();
        let values: Vec<Value<'v>> = rows.flatten().collect();
        let mut sent = 0;
        let mut changed = 0;
        while left > 0 {
            let at = LENGTHS.iter().position(|length| *length <= left).unwrap_or(LENGTHS.len() - 1);
            let count = LENGTHS[at] * self.columns.len();
            changed += conn.execute(self.text(at), &values[sent..sent + count]).await?;
            sent += count;
            left -= LENGTHS[at];
        }
        Ok(changed)
    }

    fn text(&self, at: usize) -> &'static str {
        self.texts[at].get_or_init(|| {
            let mut parameter = 0;
            let rows: Vec<String> = (0..LENGTHS[at])
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
            // Kept for ever: a handful of texts for each statement, and the drivers cache by text.
            Box::leak(format!("{} VALUES {} {}", self.head, rows.join(", "), self.tail).into_boxed_str())
        })
    }
}
