// Package settings fills a command's flags from the environment and from a file,
// and makes the logger they describe, the same way in every program.
//
// Flags win over the environment, which wins over the file. A name that is no
// setting is an error. It reads nothing but the one file it is told of.
package settings

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Fill sets the flags that the command line hasn't: from the environment,
// where --log-level is GNOMON_LOG_LEVEL, or else from a YAML file, where it is
// log-level. A name in the file that is no flag is an error, not a comment.
func Fill(flags *pflag.FlagSet, file string) error {
	values, err := readConfig(file)
	if err != nil {
		return err
	}
	for name := range values {
		if f := flags.Lookup(name); f == nil || name == "config" {
			return fmt.Errorf("%s: %q is no setting; the names are those of the flags", file, name)
		}
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || failed != nil || f.Name == "config" || f.Name == "help" {
			return
		}
		value, origin := os.Getenv(envName(f.Name)), envName(f.Name)
		if value == "" {
			v, ok := values[f.Name]
			if !ok {
				return
			}
			value, origin = fmt.Sprint(v), file
		}
		if err := flags.Set(f.Name, value); err != nil {
			failed = fmt.Errorf("%s: %s: %w", origin, f.Name, err)
		}
	})
	return failed
}

func envName(flag string) string {
	return "GNOMON_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func readConfig(file string) (map[string]any, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var values map[string]any
	if err := yaml.NewDecoder(f).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return values, nil
}

// Logger returns a logger of the level (debug, info, warn or error) in the format
// (text or json) that --log-level and --log-format name.
func Logger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: must be debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	default:
		return nil, fmt.Errorf("--log-format %q: must be text or json", format)
	}
}
