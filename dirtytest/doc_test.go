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

// examples are the files with an example of a test, and that test.
var examples = []struct {
	file, example string
	test          func(*testing.T)
}{
	{"example_test.go", "NewServer", testLabel},
	{"example_script_test.go", "Server_Script", testCutStream},
	{"example_inmemory_test.go", "WithInMemory", testTimeout},
	{"example_setenv_test.go", "Server_Setenv", testLabelAlone},
}

// TestExamples runs the tests in the examples.
func TestExamples(t *testing.T) {
	for _, e := range examples {
		t.Run(e.example, e.test)
	}
}

// TestExamplesAreWholeFiles: go doc shows the file of an example, not only its
// function, which says nothing alone.
func TestExamplesAreWholeFiles(t *testing.T) {
	for _, e := range examples {
		file, err := parser.ParseFile(token.NewFileSet(), e.file, nil, parser.ParseComments)
		require.NoError(t, err)
		found := doc.Examples(file)
		require.Len(t, found, 1)
		assert.Equal(t, e.example, found[0].Name)
		assert.IsType(t, (*ast.File)(nil), found[0].Code)
	}
}
