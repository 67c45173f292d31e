// Package filesys is a directory as the node's stores write one: records and
// segments in files, whose content and whose names survive a power cut from their
// sync on.
//
// It promises nothing that the kernel doesn't; it is a seam, for stores to be held
// against a disk that fails (see crashfs). It never looks below its directory.
package filesys

import (
	"io"
	"os"
	"path/filepath"
)

// FS is one directory.
type FS interface {
	Reader
	Writer
}

// Reader reads the directory. Names are base names.
type Reader interface {
	List() ([]string, error) // whatever is there, directories too: a broken file system makes them out of files
	Read(name string) ([]byte, error)
}

// Writer changes the directory. Only what was synced survives a power cut: a
// file's content by File.Sync, its name by Sync.
type Writer interface {
	Create(name string) (File, error) // truncates
	Rename(from, to string) error     // atomic, replaces
	Remove(name string) error
	Sync() error
}

// File is a file being written.
type File interface {
	io.WriteCloser
	Sync() error
}

// OS returns the real directory at path.
func OS(path string) FS { return directory(path) }

type directory string

func (d directory) at(name string) string { return filepath.Join(string(d), name) }

func (d directory) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d directory) Read(name string) ([]byte, error) { return os.ReadFile(d.at(name)) }

func (d directory) Create(name string) (File, error) {
	return os.OpenFile(d.at(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (d directory) Rename(from, to string) error { return os.Rename(d.at(from), d.at(to)) }

func (d directory) Remove(name string) error { return os.Remove(d.at(name)) }

func (d directory) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
