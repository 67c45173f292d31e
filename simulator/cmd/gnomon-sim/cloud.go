package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gnomon/simulator/cloudproc"
)

// startLimit is how long a cloud may take to become ready.
const startLimit = 30 * time.Second

// ownCloud is the cloud an experiment starts for itself.
type ownCloud struct {
	cfg    cloudproc.Config
	remove func()
}

// prepareCloud finds the binary and makes room for its data.
func prepareCloud(binary string) (*ownCloud, error) {
	if binary == "" {
		found, err := cloudproc.Beside("gnomon")
		if err != nil {
			return nil, fmt.Errorf("%w; build it (make build), or name it with --cloud-bin, or name a running cloud with --mqtt and --http", err)
		}
		binary = found
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, usageError{fmt.Errorf("--cloud-bin: %w", err)}
	}
	cfg, remove, err := cloudproc.Scratch(binary)
	if err != nil {
		return nil, err
	}
	return &ownCloud{cfg: cfg, remove: remove}, nil
}

// dir is where everything of an experiment is.
func (o *ownCloud) dir() string { return filepath.Dir(o.cfg.Data) }

// release removes the data, or tells where it is if it is to be looked at.
func (o *ownCloud) release(keep bool, stderr io.Writer) {
	if keep {
		fmt.Fprintf(stderr, "gnomon-sim: kept the cloud's data in %s, its log in %s\n", o.cfg.Data, o.cfg.Log)
		return
	}
	o.remove()
}

// worthKeeping reports whether a failure may have left its cause in the cloud's
// data or log.
func worthKeeping(err error) bool {
	var usage usageError
	return err != nil && !errors.As(err, &usage) && !errors.Is(err, context.Canceled)
}

// start starts the cloud and waits until it serves.
func (o *ownCloud) start(ctx context.Context) (*cloudproc.Cloud, error) {
	cloud, err := cloudproc.Start(o.cfg)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := cloud.Ready(limited); err != nil {
		cloud.Kill()
		return nil, err
	}
	return cloud, nil
}
