package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"gnomon/cloud/rest"
	"gnomon/cloud/store"
	"gnomon/cloud/store/care"
)

// exporter streams a store that is in use.
func exporter(s store.Store, log *slog.Logger) rest.Exporter {
	return func(ctx context.Context, w io.Writer) error {
		n, err := care.Export(ctx, s, w, func(k store.Key, err error) {
			log.Error("a damaged record was left out of an export", "thing", k.Thing, "shadow", k.Shadow, "error", err)
		})
		log.Info("export", "shadows", n.Shadows, "damaged", n.Damaged)
		return err
	}
}

func backupCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "backup",
		Short: "Write every shadow of a running server to standard output as JSON lines",
		Long: `Write every shadow of a running server to standard output as JSON lines. Each is
as it was at one moment, though not all at the same. gnomon store import reads
them back. The exit status is 0 only if the last line has arrived.

Collected readings are not among them: gnomon readings export --format ndjson writes
those, and gnomon store import-readings reads them back.`,
		Example: "  gnomon backup > backup.ndjson\n  gnomon store import --data ./restored < backup.ndjson",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			return s.backup(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
}

func (s *session) backup(ctx context.Context, out, log io.Writer) error {
	answer, err := s.Stream(ctx, "/v1/export")
	if err != nil {
		return err
	}
	defer answer.Close()
	lines, last := bufio.NewReaderSize(answer, 64<<10), ""
	n := 0
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if _, err := io.WriteString(out, line); err != nil {
				return err
			}
			last, n = line, n+1
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("cut off after %d lines: %w", n, err)
		}
	}
	var end struct {
		End bool
		care.Result
	}
	if json.Unmarshal([]byte(last), &end) != nil || !end.End {
		return fmt.Errorf("cut off after %d lines", n)
	}
	fmt.Fprintf(log, "%d shadows written\n", end.Shadows)
	return nil
}
