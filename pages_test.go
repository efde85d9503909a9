package dirty_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/internal/pages"
)

// TestDocsNameWhatExists: every file, every identifier of our packages and every
// test that these pages name in code spans is there.
func TestDocsNameWhatExists(t *testing.T) {
	source := readSource(t)
	var blocks []pages.Block
	list, err := pages.List(".")
	require.NoError(t, err)
	for _, page := range list {
		found, err := pages.Read(".", page)
		require.NoError(t, err)
		blocks = append(blocks, found...)
	}
	for _, page := range []string{
		"README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/CLUSTER.md", "docs/DEPLOY.md", "docs/DESIGN.md",
		"docs/PERFORMANCE.md", "docs/REFERENCE.md", "docs/RESTART.md", "docs/TROUBLESHOOTING.md",
	} {
		for _, span := range codeSpans(prose(t, page)) {
			isReaders := func(b pages.Block) bool { return b.Page == page && b.Name == span }
			if slices.ContainsFunc(blocks, isReaders) {
				continue // a file that the reader makes
			}
			if fileName.MatchString(span) {
				_, err := os.Stat(span)
				assert.NoErrorf(t, err, "%s names a file", page)
			} else {
				assert.Truef(t, source.knows(span), "%s names %s, which does not exist", page, span)
			}
		}
	}
}

// TestDesignNamesWhatExists: in a row of a table of docs/DESIGN.md, the functions
// after a file are declared in that file.
func TestDesignNamesWhatExists(t *testing.T) {
	source := readSource(t)
	rows := regexp.MustCompile("\\| `([\\w/]+\\.go)` \\| ([^|]*) \\|").FindAllStringSubmatch(prose(t, "docs/DESIGN.md"), -1)
	require.Greater(t, len(rows), 30)
	for _, row := range rows {
		for _, name := range codeSpans(row[2]) {
			assert.Truef(t, source.files[row[1]][name], "%s is not in %s", name, row[1])
		}
	}
}

// TestDocsLinks follows the relative links of all pages, with their headings.
func TestDocsLinks(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	require.NoError(t, err)
	more, err := filepath.Glob("*/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, more...) {
		for _, match := range regexp.MustCompile(`\]\(([^):\s]+)\)`).FindAllStringSubmatch(prose(t, page), -1) {
			target, heading, _ := strings.Cut(match[1], "#")
			path := filepath.Join(filepath.Dir(page), target)
			if target == "" {
				path = page
			}
			_, err := os.Stat(path)
			if assert.NoErrorf(t, err, "%s has a link", page) && heading != "" {
				assert.Containsf(t, anchors(t, path), heading, "%s has a link to %s", page, match[1])
			}
		}
	}
}

// prose returns a page without its blocks of code, of which some are in lists.
func prose(t *testing.T, page string) string {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	return regexp.MustCompile("(?s)\n *```.*?\n *```|\n    [^\n]*").ReplaceAllString(string(text), "")
}

// anchors returns what links to the headings of a page say, as code hosts make
// it of them.
func anchors(t *testing.T, page string) (all []string) {
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(prose(t, page), -1) {
		anchor := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(match[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

func codeSpans(text string) (spans []string) {
	for _, match := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(text, -1) {
		spans = append(spans, match[1])
	}
	return spans
}

var (
	fileName   = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)*(/|\.(go|md|json|txt|yml|svg|bin))$`)
	identifier = regexp.MustCompile(`^[*&]*(?:\[\])?(\w+)\.(\w+(?:\.\w+)?)(?:\(.*\)|\[.*\]|\{.*\})?$`)
	testName   = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)[A-Z]\w*$`)
)

// sourceNames is what is declared where.
type sourceNames struct {
	packages map[string]map[string]bool // by name of the package: "Reader", "Reader.ReadFrame"
	files    map[string]map[string]bool // by file
	tests    map[string]bool
}

// knows reports whether a span is fine: a name of our packages or of a test
// that is declared, or nothing that we know.
func (s sourceNames) knows(span string) bool {
	if testName.MatchString(span) {
		return s.tests[span]
	}
	match := identifier.FindStringSubmatch(span)
	if match == nil || s.packages[match[1]] == nil {
		return true
	}
	return s.packages[match[1]][match[2]]
}

// readSource reads the declarations of all Go files, of every system.
func readSource(t *testing.T) sourceNames {
	s := sourceNames{packages: map[string]map[string]bool{}, files: map[string]map[string]bool{}, tests: map[string]bool{}}
	for _, pattern := range []string{"*.go", "*/*.go", "*/*/*.go"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range found {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			s.files[path] = declared(file)
			names := s.tests
			if !strings.HasSuffix(path, "_test.go") {
				if s.packages[file.Name.Name] == nil {
					s.packages[file.Name.Name] = map[string]bool{}
				}
				names = s.packages[file.Name.Name]
			}
			for name := range s.files[path] {
				names[name] = true
			}
		}
	}
	return s
}

// declared returns the names that a file declares: functions, types, methods
// and fields as "Type.Name", variables and constants.
func declared(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			names[receiver(decl)+decl.Name.Name] = true
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names[name.Name] = true
					}
				case *ast.TypeSpec:
					names[spec.Name.Name] = true
					for _, member := range members(spec.Type) {
						names[spec.Name.Name+"."+member] = true
					}
				}
			}
		}
	}
	return names
}

// receiver returns "Type." for a method.
func receiver(decl *ast.FuncDecl) string {
	if decl.Recv == nil {
		return ""
	}
	typ := decl.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	return typ.(*ast.Ident).Name + "."
}

// members returns the fields of a struct or the methods of an interface.
func members(typ ast.Expr) (names []string) {
	var list *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
	}
	return names
}
