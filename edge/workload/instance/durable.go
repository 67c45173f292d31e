package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFile bounds a protocol file: a Request holds at most
// schema.MaxFiles × schema.MaxFileContent of file content, plus the rest.
const maxFile = 8 << 20

func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxFile {
		return fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces path by v such that after a crash at any instant it holds
// either the old content or the new.
func writeJSON(path string, v any) error {
	f, err := put(path, v, true)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), SyncDir(filepath.Dir(path)))
}

// putJSON does the same for everybody who looks, and leaves it to the caller to
// make it durable with settle. A power cut before that may leave neither content.
func putJSON(path string, v any) error {
	f, err := put(path, v, false)
	if err != nil {
		return err
	}
	return f.Close()
}

func put(path string, v any, durable bool) (*os.File, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	// The name is fixed: one side writes a file at a time, and a left-over of a
	// crash is overwritten.
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(tmp) // a full disk shall not stay full because of it
		return nil, err
	}
	return f, nil
}

// settle makes what is at path durable.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), SyncDir(filepath.Dir(path)))
}

// SyncDir makes the creation and renaming of a directory's entries durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
