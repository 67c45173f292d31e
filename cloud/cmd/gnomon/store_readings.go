package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/export"
	pebblereadings "gnomon/cloud/store/pebble/readings"
)

// readingsDir is where a directory has its readings.
func (cfg *cloudConfig) readingsDir() string { return filepath.Join(cfg.Data, "readings") }

// useReadings opens the store of readings and runs it for as long as do does.
func (cfg *cloudConfig) useReadings(ctx context.Context, do func(context.Context, readings.Store) error) error {
	if cfg.Shared.URL != "" {
		return &usageError{errors.New("--store: replicas that share a store keep no readings; name a directory with --data")}
	}
	s, err := pebblereadings.Open(pebblereadings.Config{Dir: cfg.readingsDir()})
	if err != nil {
		return fmt.Errorf("is a server using it? %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running) }()
	err = do(ctx, s)
	stop()
	return errors.Join(err, <-ended, s.Close())
}

func importReadingsCommand(cfg *cloudConfig) *cobra.Command {
	return &cobra.Command{
		Use: "import-readings", Short: "Read collected readings from standard input into a store", Args: cobra.NoArgs,
		Long: `Read collected readings, as gnomon readings export --format ndjson writes them, from
standard input into the store of a server that is stopped. What is there already
stays, so that an import which was cut off can be repeated.`,
		Example: "  gnomon readings export --format ndjson --from 2026-01-01T00:00:00Z > readings.ndjson\n  gnomon store import-readings --data ./restored < readings.ndjson",
		RunE: func(c *cobra.Command, _ []string) error {
			return cfg.useReadings(c.Context(), func(ctx context.Context, s readings.Store) error {
				n, err := export.Import(ctx, c.InOrStdin(), s)
				fmt.Fprintf(c.ErrOrStderr(), "%d values read in\n", n)
				return err
			})
		},
	}
}

// checkReadings reads every reading of a directory, if it has any.
func (cfg *cloudConfig) checkReadings(ctx context.Context, w io.Writer) error {
	if _, err := os.Stat(cfg.readingsDir()); cfg.Shared.URL != "" || err != nil {
		return nil //nolint:nilerr // there are none
	}
	return cfg.useReadings(ctx, func(ctx context.Context, s readings.Store) error {
		rows, damaged := 0, 0
		for from := (readings.Policy{}); ; {
			some, err := s.Policies(ctx, from, 1)
			if err != nil {
				return err
			}
			if len(some) == 0 {
				break
			}
			all := readings.Scan{Policy: some[0], From: time.UnixMilli(0), To: time.Now().AddDate(10, 0, 0)}
			if err := s.Scan(ctx, all, func(*readings.Row) bool { rows++; return true }); err != nil {
				fmt.Fprintln(w, err)
				damaged++
			}
			from = readings.Policy{Node: some[0].Node, Name: some[0].Name + "\x01"} // what sorts right behind it
		}
		fmt.Fprintf(w, "%d rows of readings are good\n", rows)
		if damaged > 0 {
			return fmt.Errorf("the readings of %d policies are damaged: move %s away, and import an export of them", damaged, cfg.readingsDir())
		}
		return nil
	})
}
