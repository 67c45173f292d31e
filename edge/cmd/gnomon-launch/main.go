// Command gnomon-launch starts gnomon-edge and keeps it running, in the version
// that is in use or on trial. A service manager starts it in place of the agent.
//
// It is small, uses nothing but the standard library, and is not upgraded by the
// agent: it comes with the operating system's package. It promises that there is
// always an agent to start, and that the agent ends when it does. It never
// touches a workload. SIGTERM ends agent and launcher; the exit status is 0 then,
// 2 for wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"gnomon/edge/upgrade/launch"
	"gnomon/edge/upgrade/slot"
)

// version is set by the linker.
var version = "dev"

const usage = `Usage: gnomon-launch [flags] -- run [flags of gnomon-edge run]

Start gnomon-edge, keep it running, and try and keep or give up the versions of
it that its node is to have. The agent's --data is that of the launcher.

  gnomon-launch --data /var/lib/gnomon -- run --config /etc/gnomon/edge.yaml

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "gnomon-launch:", err)
		return 2
	case cfg == nil:
		fmt.Fprintln(stderr, "gnomon-launch", version)
		return 0
	}
	if err := launch.New(*cfg).Run(ctx); err != nil {
		fmt.Fprintln(stderr, "gnomon-launch:", err)
		return 1
	}
	return 0
}

// parse reads the command line; nil asks for the version.
func parse(args []string, stderr io.Writer) (*launch.Config, error) {
	cfg := &launch.Config{Data: "/var/lib/gnomon"}
	f := flag.NewFlagSet("gnomon-launch", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	asked := f.Bool("version", false, "print the version")
	f.StringVar(&cfg.Data, "data", cfg.Data, "directory of everything the agent keeps")
	f.StringVar(&cfg.Factory, "factory", filepath.Dir(self()), "directory of the gnomon-edge that is started while there is no other version")
	f.DurationVar(&cfg.Trial, "trial", 0, "a version on trial has that long to become healthy (default 10m)")
	f.DurationVar(&cfg.Settle, "settle", 0, "and must be healthy for that long to be kept (default 10s)")
	f.DurationVar(&cfg.Alone, "alone", 0, "it runs for that long instead of reaching a cloud that was out of reach before (default 5m)")
	f.DurationVar(&cfg.Early, "early", 0, "a crash this soon after a start is a bad start (default 1m)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if *asked {
		return nil, nil
	}
	cfg.Args = f.Args()
	if len(cfg.Args) == 0 || cfg.Args[0] != "run" {
		return nil, fmt.Errorf("what to start is missing: gnomon-launch [flags] -- run [flags of gnomon-edge run]; see --help")
	}
	var err error
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	if cfg.Factory, err = filepath.Abs(cfg.Factory); err != nil {
		return nil, fmt.Errorf("--factory: %w", err)
	}
	if err := slot.Usable(cfg.Factory); err != nil {
		return nil, fmt.Errorf("--factory: %w", err)
	}
	cfg.Dir = slot.At(cfg.Data)
	cfg.Log = slog.New(slog.NewTextHandler(stderr, nil))
	return cfg, nil
}

// self is the path of this program, with links followed.
func self() string {
	p, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return p
}
