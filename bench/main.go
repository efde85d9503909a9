// Command bench measures our codec and our transport beside others, in turns. It
// writes docs/BENCHMARKS.md with its charts, and the table in README.md:
//
//	go run -C bench .
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/gunicorn-go/dirty/bench/internal/codecs"
	"github.com/gunicorn-go/dirty/bench/internal/python"
	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/transport"
)

// docs is where the page goes. The program runs in its own folder.
const docs = "../docs"

func main() {
	transport.MaybeChild()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	rounds := flag.Int("rounds", 10, "how many rounds")
	duration := flag.Duration("time", 20*time.Millisecond, "how long a case runs in a round")
	only := flag.String("only", "", "regular expression of the sections to run: codec, python, transport")
	out := flag.String("out", docs, "the folder to write into")
	short := flag.Bool("short", false, "only see whether it works: 2 rounds of 2 ms")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if *short {
		if *out == docs {
			return errors.New("-short needs -out: its figures are too rough for docs/BENCHMARKS.md")
		}
		*rounds, *duration = 2, 2*time.Millisecond
	}

	toDocs := *out == docs && wanted.MatchString("codec") // the README gets its table too
	if toDocs {
		if err := replaceReadmeTable(readme, nil); err != nil { // before minutes of work
			return err
		}
	}
	start := time.Now()
	r := results{facts: report.GatherFacts(), rounds: *rounds, duration: *duration}
	for _, section := range []struct {
		name string
		run  func() error
	}{
		{"codec", func() (err error) {
			r.codecs, err = codecs.Run(*rounds, *duration, printProgress)
			return err
		}},
		{"python", func() (err error) {
			r.python, err = python.Run(*rounds, *duration, printProgress)
			return err
		}},
		{"transport", func() (err error) {
			printProgress("transport")
			r.transport, err = transport.Run(*rounds, *duration)
			for _, what := range r.transport.Skipped {
				r.miss(what)
			}
			return err
		}},
	} {
		if !wanted.MatchString(section.name) {
			r.miss(section.name + ", which was not asked for")
			continue
		}
		if err := section.run(); errors.Is(err, python.ErrMissing) {
			r.miss(fmt.Sprintf("%s: %v", section.name, err))
		} else if err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
	}
	r.took = time.Since(start)
	if err := r.document().Write(*out); err != nil || !toDocs {
		return err
	}
	table := r.codecs.Short()
	return replaceReadmeTable(readme, &table)
}

// miss says loudly, on the terminal and on the page, what was not run and why.
func (r *results) miss(what string) {
	fmt.Fprintln(os.Stderr, "NOT RUN:", what)
	r.missing = append(r.missing, what)
}

// printProgress says on the terminal what is measured now.
func printProgress(what string) { fmt.Fprintln(os.Stderr, what) }
