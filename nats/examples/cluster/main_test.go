package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	var out strings.Builder
	require.NoError(t, run(ctx, &out))
	t.Log(out.String())
	for _, want := range []string{
		"three hosts are up",
		`120 calls: gpu1 answered \d+, gpu2 answered \d+, gpu3 answered \d+\n`,
		`another one gets "warm"`,
		"job 1 is submitted, new: true\njob 1 is submitted, new: false\njob 1 has run\n",
		`gpu1 is killed during 120 calls: \d+ answered, [0-2] with an unknown outcome`,
		`60 calls after that: gpu2 answered \d+, gpu3 answered \d+\n`,
		"301 calls in all, the job too; 0 have run twice\n",
	} {
		assert.Regexp(t, want, out.String())
	}
}
