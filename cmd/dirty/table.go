package main

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"
	lipglosstable "charm.land/lipgloss/v2/table"
)

// columnGap is how many spaces are between two columns.
const columnGap = 2

// table prints rows in columns. On a terminal that is too narrow long cells take
// several lines; elsewhere the columns are as wide as they need.
type table struct {
	cli    *cli
	titles []string
	rows   [][]string
}

func (c *cli) newTable(titles ...string) *table { return &table{cli: c, titles: titles} }

// row adds a row. An empty cell is shown as "-".
func (t *table) row(cells ...string) {
	for i := range cells {
		if cells[i] = printable(cells[i]); cells[i] == "" {
			cells[i] = "-"
		}
	}
	t.rows = append(t.rows, cells)
}

// print prints the table. The output keeps its error.
func (t *table) print() {
	out := t.cli.stdout
	fmt.Fprintln(out, renderTable(t.titles, t.rows, tableShape{width: widthOf(out), colorful: t.cli.colorful(out)}))
}

// tableShape is how a table is to look. The zero value is as wide as its cells.
type tableShape struct {
	width    int  // of its lines at most; 0 is no bound
	cut      bool // cut long cells, rather than to give them several lines
	colorful bool // colour the titles, and cells that judge, such as "stuck"
}

// renderTable returns a table. If the width has no room for all columns it is no bound.
func renderTable(titles []string, rows [][]string, shape tableShape) string {
	t := lipglosstable.New().Headers(titles...).Rows(rows...).Wrap(!shape.cut).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderHeader(false).BorderColumn(false).BorderRow(false).
		StyleFunc(func(row, column int) lipgloss.Style {
			style := lipgloss.NewStyle()
			switch {
			case !shape.colorful:
			case row == lipglosstable.HeaderRow:
				style = styleTitle
			default:
				style = wordStyles[rows[row][column]]
			}
			if column < len(titles)-1 {
				style = style.PaddingRight(columnGap)
			}
			return style
		})
	text := t.Render()
	if smallest := len(titles) * (columnGap + 4); shape.width >= smallest && lipgloss.Width(text) > shape.width {
		text = t.Width(shape.width).Render()
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
