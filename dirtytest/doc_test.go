package dirtytest_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExample runs the test in the example.
func TestExample(t *testing.T) { testLabel(t) }

// TestExampleIsWholeFile: go doc shows the file of the example, not only its
// function, which says nothing alone.
func TestExampleIsWholeFile(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "example_test.go", nil, parser.ParseComments)
	require.NoError(t, err)
	examples := doc.Examples(file)
	require.Len(t, examples, 1)
	assert.Equal(t, "NewServer", examples[0].Name)
	assert.IsType(t, (*ast.File)(nil), examples[0].Code)
}
