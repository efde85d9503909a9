package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Markdown writes a table with its title.
func (t Table) Markdown(w io.Writer) {
	if t.Title != "" {
		fmt.Fprintf(w, "**%s**\n\n", strings.ToUpper(t.Title[:1])+t.Title[1:])
	}
	if t.Note != "" {
		fmt.Fprintf(w, "%s\n\n", t.Note)
	}
	line := func(cells []string) {
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	line(t.Columns)
	under := make([]string, len(t.Columns))
	for i := range under {
		under[i] = "---"
		if t.figures(i) {
			under[i] = "---:"
		}
	}
	line(under)
	for _, r := range t.Rows {
		line(append([]string{r.Name}, r.Cells...))
	}
	fmt.Fprintln(w)
	for i, remark := range t.Remarks {
		fmt.Fprintf(w, "%d. %s\n", i+1, remark)
	}
	if len(t.Remarks) > 0 {
		fmt.Fprintln(w)
	}
}

// figures reports whether a column has only figures, which are set to the right.
func (t Table) figures(column int) bool {
	if column == 0 {
		return false
	}
	for _, r := range t.Rows {
		cell := strings.TrimLeft(r.Cells[column-1], "<>= ")
		if cell != None && !strings.ContainsAny(cell[:min(1, len(cell))], "-0123456789") {
			return false
		}
	}
	return true
}

// Goals makes a table of goals. It says how many were met, and why the others were
// not.
func Goals(title string, goals []Goal) Table {
	t := Table{Title: title, Columns: []string{"what", "wanted", "measured (quartiles)", "met"}}
	met := 0
	for _, g := range goals {
		want, answer := "<= ", "**no**"
		if g.AtLeast {
			want = ">= "
		}
		if g.Met() {
			met, answer = met+1, "yes"
		} else if g.Why != "" {
			answer += fmt.Sprintf(", see %d", t.remark(g.Why))
		}
		t.Rows = append(t.Rows, Row{g.What, []string{want + Number(g.Want), Ratio(g.Spread), answer}})
	}
	t.Note = fmt.Sprintf("%d of %d met.", met, len(goals))
	return t
}

// remark returns the number of a remark, which it adds if it is new.
func (t *Table) remark(text string) int {
	i := slices.Index(t.Remarks, text)
	if i < 0 {
		i, t.Remarks = len(t.Remarks), append(t.Remarks, text)
	}
	return i + 1
}
