package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/gunicorn-go/dirty/bench/internal/report"
)

// readme has a copy of the page's first table.
const readme = "../README.md"

// readmeTable is that copy, from its head to the empty line.
var readmeTable = regexp.MustCompile(`(?m)^\| dirty / \|.*\n(\|.*\n)*`)

// replaceReadmeTable puts a table in the place of the one in the file. A nil table
// only looks whether there is a place.
func replaceReadmeTable(path string, table *report.Table) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	place := readmeTable.FindIndex(text)
	if place == nil {
		return fmt.Errorf(`%s has no table that begins with "| dirty / |"`, path)
	}
	if table == nil {
		return nil
	}
	narrow := *table
	narrow.Columns = append([]string{"dirty /"}, table.Columns[1:]...)
	var lines strings.Builder
	narrow.Markdown(&lines)
	changed := string(text[:place[0]]) + strings.TrimSuffix(lines.String(), "\n") + string(text[place[1]:])
	return os.WriteFile(path, []byte(changed), 0o644)
}
