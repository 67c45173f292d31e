package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"context"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gnomon-edge": func() {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
		// Sockets have short addresses; agents don't.
		return os.MkdirAll(e.WorkDir+"/"+deep, 0o755)
	}})
}

const deep = "a-directory-whose-name-is-long/so-long-that-the-address-of-a-socket/within-it-would-not-fit/into-what-the-kernel-allows"
