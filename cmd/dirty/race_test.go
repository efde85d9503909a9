//go:build race

package main

// underRace says that the race detector is on. It makes tests of large inputs, which use
// one goroutine, ten times as slow, so they take smaller ones then.
const underRace = true
