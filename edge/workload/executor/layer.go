package executor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// keptLayers bounds the writable layers of a container: the current component's
// and the one before it, to which a rollback returns.
const keptLayers = 2

// layer returns the writable layer of a container over a component's root. Each
// root has its own: what a program changed in one version of its files must not
// hide the next version's.
func (e *Executor) layer(name, root string) (string, error) {
	sum := sha256.Sum256([]byte(root))
	base := filepath.Join(e.app(name), "layers")
	own := filepath.Join(base, hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(own, 0o711); err != nil {
		return "", err
	}
	now := time.Now()
	if err := os.Chtimes(own, now, now); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return "", err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return modified(b).Compare(modified(a)) })
	var errs []error
	for i, d := range entries {
		if path := filepath.Join(base, d.Name()); i >= keptLayers && path != own {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return own, errors.Join(errs...)
}

func modified(d os.DirEntry) time.Time {
	info, err := d.Info()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func valid(name string) error {
	if !schema.ValidName(name) {
		return fmt.Errorf("%w: name %q must be %s", workload.ErrInvalid, name, schema.NameRule)
	}
	return nil
}
