//! Tables for people.

use comfy_table::{Table, presets};

/// Columns under their heads, two spaces apart.
pub(crate) fn table<const N: usize>(heads: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heads);
    for row in rows {
        table.add_row(row.map(|cell| if cell.is_empty() { "-".to_owned() } else { shown(&cell) }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Without what a terminal would obey: names and messages come from others.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_even_columns_no_ragged_ends_and_nothing_that_a_terminal_obeys() {
        let text = table(
            ["NAME", "WHY"],
            [["n1".into(), String::new()], ["node-2".into(), "a\u{1b}[2Jb".into()]],
        );
        assert_eq!(text, "NAME    WHY\nn1      -\nnode-2  a\u{fffd}[2Jb\n");
    }
}
