package report

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Document is the report: one Markdown file, and the charts beside it.
type Document struct {
	Intro    string
	Missing  []string // what was not run, and why
	Sections []Section
}

// Section is a chapter. Its parts come in the order of the fields.
type Section struct {
	Title  string
	Text   string
	Tables []Table
	Charts []Bars
	Folded []Fold
}

// Fold has tables that few want to see. A reader must open it.
type Fold struct {
	Title  string
	Tables []Table
}

// Write writes the document as BENCHMARKS.md, and its charts, into a folder.
func (d Document) Write(folder string) (err error) {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for _, s := range d.Sections {
		for _, c := range s.Charts {
			if err := writeFile(filepath.Join(folder, c.file()), c.SVG); err != nil {
				return fmt.Errorf("%s: %w", c.file(), err)
			}
		}
	}
	return writeFile(filepath.Join(folder, "BENCHMARKS.md"), func(w io.Writer) error {
		d.markdown(w)
		return nil
	})
}

func (d Document) markdown(w io.Writer) {
	fmt.Fprintf(w, "# Benchmarks\n\n%s\n\n", d.Intro)
	for _, m := range d.Missing {
		fmt.Fprintf(w, "> **Not run: %s**\n\n", m)
	}
	for _, s := range d.Sections {
		fmt.Fprintf(w, "## %s\n\n", s.Title)
		if s.Text != "" {
			fmt.Fprintf(w, "%s\n\n", s.Text)
		}
		for _, t := range s.Tables {
			t.Markdown(w)
		}
		for _, c := range s.Charts {
			fmt.Fprintf(w, "![%s](%s)\n\n", c.Title, c.file())
		}
		for _, f := range s.Folded {
			fmt.Fprintf(w, "<details>\n<summary>%s</summary>\n\n", f.Title)
			for _, t := range f.Tables {
				t.Markdown(w)
			}
			fmt.Fprint(w, "</details>\n\n")
		}
	}
}

// writeFile creates a file and has it written. An error of the disk shows when the
// file is closed, at the latest.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	return write(f)
}

// file returns the name of the chart's file. By default it is made of the title,
// in small letters, with hyphens between the words.
func (b Bars) file() string {
	if b.File != "" {
		return b.File
	}
	words := strings.FieldsFunc(strings.ToLower(b.Title), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return "bench-" + strings.Join(words, "-") + ".svg"
}
