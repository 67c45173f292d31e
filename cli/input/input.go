// Package input reads the files that the command lines take, the same way in
// every program.
//
// It promises that a file is read whole or not at all: one that is larger than
// its reader takes is refused by name, with its size and the limit. It never
// looks at what is in them.
package input

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooLarge is wrapped by what Read says of a file beyond the limit.
var ErrTooLarge = errors.New("too large")

// Read returns what is in a file, or on standard input for "-", if that is at
// most limit bytes.
func Read(file string, stdin io.Reader, limit int64) ([]byte, error) {
	in, size := stdin, int64(0)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	if size > limit {
		return nil, tooLarge(file, fmt.Sprintf("%d", size), limit)
	}
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", file, err)
	case int64(len(text)) > limit:
		return nil, tooLarge(file, fmt.Sprintf("more than %d", limit), limit)
	}
	return text, nil
}

func tooLarge(file, size string, limit int64) error {
	return fmt.Errorf("%s: %w: %s bytes, and at most %d are taken; split it into several files", file, ErrTooLarge, size, limit)
}
