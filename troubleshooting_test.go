package dirty_test

import (
	"crypto/x509"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// textsOfOthers are texts in docs/TROUBLESHOOTING.md that others make.
var textsOfOthers = []string{
	syscall.ENOENT.Error(), syscall.ECONNREFUSED.Error(), syscall.EACCES.Error(), os.ErrDeadlineExceeded.Error(),
	x509.UnknownAuthorityError{}.Error(), x509.CertificateInvalidError{Reason: x509.Expired}.Error(),
	"tls: first record does not look like a TLS handshake", "remote error: tls: bad certificate",
	"Broken pipe", "TypeError", "_meta", "dirty_timeout", // Python's and gunicorn's
}

// TestTroubleshootingQuotes: each text that the first column of a table in
// docs/TROUBLESHOOTING.md quotes is one that a program can write. N in a quote stands for
// a number.
func TestTroubleshootingQuotes(t *testing.T) {
	texts := append(readTexts(t), textsOfOthers...)
	quotes := 0
	for _, table := range regexp.MustCompile(`(?m)^\| (?:you see|the text says) \|(?:.*\n\|)+`).FindAllString(prose(t, "docs/TROUBLESHOOTING.md"), -1) {
		for _, row := range regexp.MustCompile(`(?m)^\| ([^|]*) \|`).FindAllStringSubmatch(table, -1) {
			for _, quote := range codeSpans(row[1]) {
				if identifier.MatchString(quote) {
					continue // TestDocsNameWhatExists looks at it
				}
				quotes++
				pattern := regexp.MustCompile(regexp.MustCompile(`\bN\b`).ReplaceAllLiteralString(regexp.QuoteMeta(quote), "%d"))
				assert.Truef(t, slices.ContainsFunc(texts, pattern.MatchString), "no program writes %q", quote)
			}
		}
	}
	assert.Greater(t, quotes, 40)
}

// readTexts returns the texts in our programs, of every system.
func readTexts(t *testing.T) (texts []string) {
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				texts = append(texts, text)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	return texts
}
