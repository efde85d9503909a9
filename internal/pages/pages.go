// Package pages reads the blocks of code in the documentation, for tests.
package pages

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Block is a block of code between two fences.
type Block struct {
	Page     string // its path in the repository
	Line     int    // of the first line of code
	Language string // what stands behind the first fence
	Name     string // of a file: the last code span in the line before; "" if there is none
	Code     string
}

func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

// DirtyCommands returns the lines of a block of shell that are commands of dirty.
func (b Block) DirtyCommands() (lines []string) {
	for line := range strings.Lines(b.Code) {
		if b.Language == "sh" && strings.HasPrefix(line, "dirty ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// List returns the pages that are checked: README.md, those in docs, and the README.md
// of each other module. root is the folder of the repository.
func List(root string) ([]string, error) {
	pages := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "*/go.mod", "*/*/go.mod"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if filepath.Base(path) == "go.mod" {
				path = filepath.Join(filepath.Dir(path), "README.md")
				if _, err := os.Stat(path); err != nil {
					continue // not every module has one
				}
			}
			page, err := filepath.Rel(root, path)
			if err != nil {
				return nil, err
			}
			pages = append(pages, filepath.ToSlash(page))
		}
	}
	return pages, nil
}

var (
	fence    = regexp.MustCompile("^( *)```(.*)$")
	codeSpan = regexp.MustCompile("`([^`]+)`")
)

// Read returns the blocks of a page. A block that is indented without fences is an
// error: it does not say its language.
func Read(root, page string) (blocks []Block, err error) {
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return nil, err
	}
	var open *Block
	indent, before, blank := "", "", true
	for i, line := range strings.Split(string(text), "\n") {
		mark := fence.FindStringSubmatch(line)
		switch {
		case open != nil && mark != nil:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.Code += strings.TrimPrefix(line, indent) + "\n"
		case mark != nil:
			indent = mark[1]
			open = &Block{Page: page, Line: i + 2, Language: mark[2]}
			if spans := codeSpan.FindAllStringSubmatch(before, -1); spans != nil {
				open.Name = spans[len(spans)-1][1]
			}
		case blank && strings.HasPrefix(line, "    "):
			return nil, fmt.Errorf("%s:%d: use fences, and say the language of the code", page, i+1)
		}
		blank = strings.TrimSpace(line) == ""
		if !blank {
			before = line
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%v: the block has no end", *open)
	}
	return blocks, nil
}

// Find returns the block of a page for a file of that name.
func Find(root, page, name string) (Block, error) {
	blocks, err := Read(root, page)
	if err != nil {
		return Block{}, err
	}
	i := slices.IndexFunc(blocks, func(b Block) bool { return b.Name == name })
	if i < 0 {
		return Block{}, fmt.Errorf("%s has no block for %s", page, name)
	}
	return blocks[i], nil
}

const module = "github.com/gunicorn-go/dirty"

// imports are the packages that a block without imports may name.
var imports = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "io": "io", "iter": "iter", "log": "log",
	"http": "net/http", "os": "os", "signal": "os/signal", "slog": "log/slog", "syscall": "syscall",
	"synctest": "testing/synctest", "testing": "testing", "time": "time", "tls": "crypto/tls",
	"dirty": module, "capture": module + "/capture", "client": module + "/client", "cluster": module + "/cluster",
	"dirtytest": module + "/dirtytest", "httpdirty": module + "/httpdirty", "proxy": module + "/proxy",
	"server": module + "/server", "nats": "github.com/nats-io/nats.go", "jetstream": "github.com/nats-io/nats.go/jetstream", "dirtyotel": module + "/otel", "dirtynats": module + "/nats",
}

// parameters are what a block may use that is a part of a function, by name.
var parameters = map[string]string{
	"ctx": "context.Context", "c": "*client.Client", "mux": "*server.Mux", "agent": "*cluster.Agent",
	"image": "[]byte", "prompt": "string", "js": "jetstream.JetStream",
}

// Source makes a Go file of a block. One that begins with a package clause is a file
// already. Others get the imports that they need. If a block has no declarations alone,
// it becomes the body of a function with a few parameters.
//
// The compiler tells errors by page and line.
func Source(b Block) (string, error) {
	position := fmt.Sprintf("//line %s:%d\n", b.Page, b.Line)
	if strings.HasPrefix(b.Code, "package ") {
		return position + b.Code, nil
	}
	body := position + b.Code
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+body, 0); err != nil {
		var used strings.Builder // or the compiler complains
		for _, names := range regexp.MustCompile(`(?m)^(\w+(?:, \w+)*) :=`).FindAllStringSubmatch(b.Code, -1) {
			used.WriteString(strings.Repeat("_, ", strings.Count(names[1], ",")) + "_ = " + names[1] + "\n")
		}
		var taken []string
		for name, typ := range parameters {
			if regexp.MustCompile(`\b` + name + `\b`).MatchString(b.Code) {
				taken = append(taken, name+" "+typ)
			}
		}
		body = "func part(" + strings.Join(taken, ", ") + ") {\n{\n" + body + used.String() + "}\n}\n" // what is declared may hide a parameter
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+body, 0)
	if err != nil {
		return "", fmt.Errorf("%v: %w", b, err)
	}
	name, needed := "part", map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && imports[x.Name] != "" {
				needed[fmt.Sprintf("import %s %q\n", x.Name, imports[x.Name])] = true
			}
		}
		if f, ok := n.(*ast.FuncDecl); ok && f.Name.Name == "main" {
			name = "main"
		}
		return true
	})
	source := "package " + name + "\n"
	for line := range needed {
		source += line
	}
	return source + body, nil
}

// Folder returns the folder of the module in which a Go file is compiled: that of a
// module which it imports, or else the root, "".
func Folder(root, source string) string {
	for _, match := range regexp.MustCompile(`"`+module+`/([\w/]+)"`).FindAllStringSubmatch(source, -1) {
		if _, err := os.Stat(filepath.Join(root, match[1], "go.mod")); err == nil {
			return match[1]
		}
	}
	return ""
}
