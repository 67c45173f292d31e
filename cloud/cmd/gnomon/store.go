package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cli/settings"
	"gnomon/cloud/store"
	"gnomon/cloud/store/care"
)

// use opens the store that flags name and runs it for as long as do does.
func (cfg *cloudConfig) use(ctx context.Context, do func(context.Context, store.Store) error) error {
	if _, err := os.Stat(cfg.Data); cfg.Shared.URL == "" && err != nil {
		return &usageError{fmt.Errorf("--data: %w", err)}
	}
	db, _, err := cfg.openDatabase(ctx, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- db.Run(running) }()
	err = do(ctx, db)
	stop()
	return errors.Join(err, <-ended, db.Close())
}

func storeCommand() *cobra.Command {
	cfg := &cloudConfig{Data: "gnomon-data"}
	c := &cobra.Command{
		Use:   "store",
		Short: "Export, import and check a store: a directory while its server is stopped, a shared one at any time",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&cfg.Data, "data", cfg.Data, "directory of the store")
	cfg.Shared.register(c.PersistentFlags())
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		directory := c.Flags().Changed("data") && !c.Flags().Changed("store")
		if err := settings.Fill(c.Flags(), ""); err != nil {
			return &usageError{err}
		}
		if directory {
			cfg.Shared.URL = "" // what was typed wins over the environment
		}
		return nil
	}
	c.AddCommand(exportCommand(cfg), importCommand(cfg), checkCommand(cfg), importReadingsCommand(cfg))
	for _, sub := range c.Commands() {
		wrapUsage(sub)
	}
	return c
}

func exportCommand(cfg *cloudConfig) *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "Write every shadow to standard output as JSON lines", Args: cobra.NoArgs,
		Example: "  gnomon store export --data /var/lib/gnomon-cloud > shadows.ndjson\n  gnomon store export --store redis://127.0.0.1:6379/0 > backup.ndjson",
		RunE: func(c *cobra.Command, _ []string) error {
			return cfg.use(c.Context(), func(ctx context.Context, s store.Store) error {
				n, err := care.Export(ctx, s, c.OutOrStdout(), func(k store.Key, err error) {
					fmt.Fprintln(c.ErrOrStderr(), "left out:", err)
				})
				fmt.Fprintf(c.ErrOrStderr(), "%d shadows written, %d damaged ones left out\n", n.Shadows, n.Damaged)
				if err == nil && n.Damaged > 0 {
					err = errors.New("damaged records were left out; see: gnomon store check")
				}
				return err
			})
		},
	}
}

func importCommand(cfg *cloudConfig) *cobra.Command {
	var moved bool
	c := &cobra.Command{
		Use: "import", Short: "Read shadows from standard input into a store", Args: cobra.NoArgs,
		Long: `Read shadows from standard input into a store, which is made if it isn't there.

Versions leap ahead by default, because a store that was lost may have handed
out versions that the export doesn't know of; every node then compares its state
anew. With --moved they stay: only where nothing was written since the export.
Histories and change-sets come with their shadows; without --moved change-sets
that were not over are cancelled, for they may have been applied since.
Shadows that are there at the same or a later version are kept, so that an
import which was cut off can be repeated.`,
		Example: "  gnomon store import --data /var/lib/gnomon-cloud < backup.ndjson\n  gnomon store export --data ./gnomon-data | gnomon store import --moved --store redis://127.0.0.1:6379/0",
		RunE: func(c *cobra.Command, _ []string) error {
			if cfg.Shared.URL == "" {
				if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
					return err
				}
			}
			mode := care.Restore
			if moved {
				mode = care.Move
			}
			return cfg.use(c.Context(), func(ctx context.Context, s store.Store) error {
				n, err := care.Import(ctx, c.InOrStdin(), s, mode)
				fmt.Fprintf(c.ErrOrStderr(), "%d shadows read in, %d kept as they were\n", n.Shadows, n.Kept)
				return err
			})
		},
	}
	c.Flags().BoolVar(&moved, "moved", false, "nothing was written since the export: keep the versions")
	return c
}

func checkCommand(cfg *cloudConfig) *cobra.Command {
	var repair string
	c := &cobra.Command{
		Use: "check", Short: "Read every record and name the damaged ones", Args: cobra.NoArgs,
		Long: `Read every record, and every collected reading, and name the damaged ones. The exit
status is 1 if there are any.

With --repair DIR each damaged record is put into a file there and a deleted
shadow in its place, so that it can be made again; what it held is lost to the
server, but a node that still runs it reports it.`,
		RunE: func(c *cobra.Command, _ []string) error {
			err := cfg.use(c.Context(), func(ctx context.Context, s store.Store) error {
				return check(ctx, s, repair, c.OutOrStdout())
			})
			if usage := (*usageError)(nil); errors.As(err, &usage) {
				return err
			}
			return errors.Join(err, cfg.checkReadings(c.Context(), c.ErrOrStderr()))
		},
	}
	c.Flags().StringVar(&repair, "repair", "", "directory to put damaged records into")
	return c
}

func check(ctx context.Context, s store.Store, repair string, w io.Writer) error {
	var damaged []care.Damage
	n, err := care.Check(ctx, s, func(d care.Damage) error {
		fmt.Fprintf(w, "%s %q: %v\n", d.Key.Thing, d.Key.Shadow, d.Err)
		damaged = append(damaged, d)
		return nil
	})
	if err != nil {
		return err
	}
	for i, d := range damaged {
		if repair == "" {
			break
		}
		if err := setAside(repair, i, d); err != nil {
			return err
		}
		if err := care.Replace(ctx, s, d, time.Now().Unix()); err != nil {
			return err
		}
	}
	if err := output.Write(w, output.JSON, n); err != nil {
		return err
	}
	if len(damaged) > 0 && repair == "" {
		return errors.New("damaged records; put them aside with --repair DIR")
	}
	return nil
}

// setAside keeps the bytes of a damaged record.
func setAside(dir string, i int, d care.Damage) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := fmt.Sprintf("%d-%04d.rec", time.Now().UnixNano(), i) // what the record is called may be damaged too
	return os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "thing %q shadow %q\n%s", d.Key.Thing, d.Key.Shadow, d.Data), 0o600)
}
