package dirty_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// interop/releases.txt is the only list of the supported gunicorn releases. These
// tests find what was forgotten after a line was added to it. The command that
// updates everything is in interop/README.md.

// supportedReleases are the releases of that file, oldest first.
func supportedReleases(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("interop", "releases.txt"))
	require.NoError(t, err)
	releases := strings.Fields(string(text))
	require.NotEmpty(t, releases)
	return releases
}

// TestReleasesInPackageComment: the package comment is the only sentence that
// names the range.
func TestReleasesInPackageComment(t *testing.T) {
	releases := supportedReleases(t)
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	want := "gunicorn releases from " + releases[0] + " to " + releases[len(releases)-1] + "."
	assert.True(t, strings.Contains(string(text), want), "doc.go must say %q", want)
}

func TestReleasesOfVectors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "vectors", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var content struct{ Provenance struct{ Gunicorn []string } }
		require.NoError(t, json.Unmarshal(text, &content), file)
		assert.Equal(t, supportedReleases(t), content.Provenance.Gunicorn, file)
	}
}

func TestReleasesOfSessions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "sessions", "gunicorn-*.bin"))
	require.NoError(t, err)
	var recorded []string
	for _, file := range files {
		recorded = append(recorded, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "gunicorn-"), ".bin"))
	}
	assert.ElementsMatch(t, supportedReleases(t), recorded)
}

// rangeOfReleases matches sentences such as "25.1.0 to 27.0.1", which would be
// wrong after the next release. "26.1 or later" stays right.
var rangeOfReleases = regexp.MustCompile(`25\.1(\.0)?\s*(to|until|up to|through|-|–)\s*2[5-9]\.\d`)

// TestReleasesElsewhere: other texts say "every supported release".
func TestReleasesElsewhere(t *testing.T) {
	exempt := []string{
		"doc.go",           // the one sentence
		"docs/FAULTS.md",   // says what was measured, which stays as it is
		"releases_test.go", // names the pattern
	}
	checked := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (path == ".git" || path == "testdata") {
			return fs.SkipDir
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".md" && ext != ".py" && path != filepath.Join(".ci", "run") {
			return nil
		}
		if slices.Contains(exempt, filepath.ToSlash(path)) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checked++
		assert.Empty(t, rangeOfReleases.FindAllString(string(text), -1), "%s: say \"every supported release\"", path)
		return nil
	})
	require.NoError(t, err)
	assert.Greater(t, checked, 100, "files were found")
}
