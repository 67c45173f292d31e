package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	dlt645 "gnomon/edge/collect/dlt645/wire"
	dlt698 "gnomon/edge/collect/dlt698/wire"
)

// decoder explains one frame of a protocol. What it returns is printed as JSON
// and YAML as it is, and as a table of its Rows() [][]string, names and values, or
// else of its members. With an error it may return what can be said all the same,
// or nil.
type decoder func(frame []byte) (explanation any, err error)

// decoders are by the name given to --protocol.
var decoders = map[string]decoder{
	"dlt645": explained(dlt645.Explain),
	"dlt698": explained(dlt698.Explain),
	"q376":   explained(explainQ376),
}

// explained makes a decoder of a function that returns its own type.
func explained[T any](explain func([]byte) (*T, error)) decoder {
	return func(frame []byte) (any, error) {
		e, err := explain(frame)
		if e == nil {
			return nil, err // and no pointer that is nil within an interface that isn't
		}
		return e, err
	}
}

// maxFrame is how many bytes decode takes: more than a frame of any protocol.
const maxFrame = 17 << 10

func decodeCommand() *cobra.Command {
	protocol, format := "", "table"
	names := strings.Join(slices.Sorted(maps.Keys(decoders)), ", ")
	c := &cobra.Command{
		Use:   "decode --protocol NAME HEX...",
		Short: "Explain a meter's frame; needs no agent and no cloud",
		Long: `Explain one frame of a meter's protocol: its fields, values and units, what is
missing, and whether its checksum is right. The frame is given in hex; spaces,
colons and dashes between the bytes are passed over.

A frame that is wrong is explained as far as it goes; the exit status is then 1,
and the reason is on standard error.`,
		Example: "  gnomon-edge decode --protocol dlt645 FE FE 68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := output.Parse(format)
			if err != nil {
				return usageError{err}
			}
			decode := decoders[protocol]
			if decode == nil {
				return usageError{fmt.Errorf("--protocol %q: must be %s", protocol, names)}
			}
			frame, err := parseHex(strings.Join(args, ""))
			if err != nil {
				return usageError{err}
			}
			explanation, reason := decode(frame)
			if explanation != nil {
				if err := printExplanation(c, f, explanation); err != nil {
					return err
				}
			}
			if reason != nil {
				return fmt.Errorf("not a good frame of %s: %w", protocol, reason)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&protocol, "protocol", "p", "", "the frame's protocol: "+names)
	c.Flags().StringVarP(&format, "output", "o", format, "json, yaml or table")
	return c
}

// parseHex reads bytes as people copy them out of logs.
func parseHex(text string) ([]byte, error) {
	digits := strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "", ":", "", "-", "", "0x", "", "0X", "", ",", "").Replace(text)
	if len(digits) > 2*maxFrame {
		return nil, fmt.Errorf("HEX: %d digits are given, %d are the limit", len(digits), 2*maxFrame)
	}
	frame, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("HEX: %w", err)
	}
	return frame, nil
}

func printExplanation(c *cobra.Command, f output.Format, explanation any) error {
	if f != output.Table {
		return output.Write(c.OutOrStdout(), f, explanation)
	}
	header := []string{"FIELD", "VALUE"}
	if e, ok := explanation.(interface{ Rows() [][]string }); ok {
		return output.Rows(c.OutOrStdout(), header, e.Rows())
	}
	text, err := json.Marshal(explanation)
	if err != nil {
		return err
	}
	rows, err := flatten(text)
	if err != nil {
		return err
	}
	return output.Rows(c.OutOrStdout(), header, rows)
}

// flatten makes a row of every member of a JSON document that holds no others,
// in their order: the path to it, and what it says.
func flatten(text []byte) (rows [][]string, err error) {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var walk func(path string) error
	walk = func(path string) error {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		delim, nested := token.(json.Delim)
		if !nested {
			rows = append(rows, []string{path, fmt.Sprint(token)})
			return nil
		}
		for i := 0; dec.More(); i++ {
			name := strconv.Itoa(i)
			if delim == '{' {
				key, err := dec.Token()
				if err != nil {
					return err
				}
				name = fmt.Sprint(key)
			}
			if path != "" {
				name = path + "." + name
			}
			if err := walk(name); err != nil {
				return err
			}
		}
		_, err = dec.Token() // the closing one
		return err
	}
	return rows, walk("")
}
