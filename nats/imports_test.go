package dirtynats_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestImports checks that only package embedded brings the NATS server along.
func TestImports(t *testing.T) {
	packages := func(folder string) string {
		list, err := exec.CommandContext(newContext(t), "go", "list", "-deps", folder).Output()
		require.NoError(t, err)
		return string(list)
	}
	const server = "github.com/nats-io/nats-server/"
	assert.False(t, strings.Contains(packages("."), server), "dirtynats must not import the NATS server")
	assert.True(t, strings.Contains(packages("./embedded"), server))
}
