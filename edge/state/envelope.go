package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
)

// A record's file is one line, "gnomon1 <crc32c> <key>", and the JSON text. The
// checksum covers key and text, so that a file under the wrong name or cut short
// does not check out. It stays readable for whoever looks after a node.
const magic = "gnomon1"

// foreign is the magic of a version that isn't this one.
var foreign = regexp.MustCompile(`^gnomon([2-9]|[1-9][0-9]{1,3})$`)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errCorrupt = errors.New("record does not check out")
	errFormat  = errors.New("record of another version's format")
)

func seal(key string, data []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %08x %s\n", magic, checksum(key, data), key)
	b.Write(data)
	return b.Bytes()
}

func unseal(key string, file []byte) ([]byte, error) {
	line, data, ok := bytes.Cut(file, []byte{'\n'})
	if ok && string(line) == fmt.Sprintf("%s %08x %s", magic, checksum(key, data), key) {
		return data, nil
	}
	if of, _, found := bytes.Cut(line, []byte{' '}); found && foreign.Match(of) {
		return nil, fmt.Errorf("%w: %s, this one reads %s", errFormat, of, magic)
	}
	return nil, errCorrupt
}

func checksum(key string, data []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, data)
}

const (
	tmpSuffix = ".tmp"
	badPrefix = "bad." // no kind has a dot
	classic   = "%classic"
)

// fileName makes a file name of a kind and a shadow name, which may hold
// characters that not every file system takes.
func fileName(kind Kind, name string) string {
	if name == "" {
		return string(kind) + "-" + classic
	}
	var b strings.Builder
	b.WriteString(string(kind) + "-")
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// nameOf undoes fileName.
func nameOf(kind Kind, file string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(file, string(kind)+"-")
	if !ok || strings.HasSuffix(rest, tmpSuffix) {
		return "", false
	}
	if rest == classic {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '%' {
			b.WriteByte(rest[i])
			continue
		}
		if i+2 >= len(rest) {
			return "", false
		}
		c, err := hex.DecodeString(rest[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.WriteByte(c[0])
		i += 2
	}
	return b.String(), b.Len() > 0
}
