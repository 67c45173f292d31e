package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/edge/collect/dlt645"
	"gnomon/schema"
)

// scanned is what scan says.
type scanned struct {
	Meters []string `json:"meters"` // addresses
}

func scanCommand() *cobra.Command {
	protocol, format := "dlt645", "table"
	source := map[string]any{}
	var port, address, parity, timeout string
	var baud, tries int
	c := &cobra.Command{
		Use:   "scan (--port DEVICE | --address HOST:PORT)",
		Short: "Find the addresses of the meters on a line; needs no agent and no cloud",
		Long: `Find the addresses of the DL/T 645 meters on a serial line, or behind a serial
server. One meter is found at once; where answers collide, those whose addresses
end in 00, 01 and so on are called one after the other, which takes a minute or more.

No agent may be polling on the line meanwhile: disable its policies first.`,
		Example: "  gnomon-edge scan --port /dev/ttyS1 --baud 2400\n  gnomon-edge scan --address 10.0.0.7:4001 -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := output.Parse(format)
			if err != nil {
				return usageError{err}
			}
			if protocol != "dlt645" {
				return usageError{fmt.Errorf("--protocol %q: must be dlt645", protocol)}
			}
			source["kind"] = schema.SourceDLT645TCP
			if port != "" {
				source["kind"] = schema.SourceDLT645
			}
			for name, v := range map[string]any{"port": port, "address": address, "parity": parity, "baud": baud, "tries": tries, "timeout": timeout} {
				if v != "" && v != 0 {
					source[name] = v
				}
			}
			s, err := scanSource(source)
			if err != nil {
				return usageError{err}
			}
			found, err := scan(c.Context(), *s)
			if len(found.Meters) == 0 {
				return err
			}
			return errors.Join(printScanned(c, f, found), err)
		},
	}
	f := c.Flags()
	f.StringVarP(&protocol, "protocol", "p", protocol, "what the meters speak: dlt645")
	f.StringVar(&port, "port", "", "serial device, such as /dev/ttyS1")
	f.StringVar(&address, "address", "", "host:port of a serial server")
	f.IntVar(&baud, "baud", 0, "speed of the line (default 2400)")
	f.StringVar(&parity, "parity", "", "N, E or O (default E)")
	f.StringVar(&timeout, "timeout", "", "until an answer begins (default 1s)")
	f.IntVar(&tries, "tries", 0, "calls of each range of addresses (default 2)")
	f.StringVarP(&format, "output", "o", format, "json, yaml or table")
	return c
}

// scanSource checks and completes a source as that of a policy.
func scanSource(source map[string]any) (*schema.Source, error) {
	text, err := json.Marshal(map[string]any{"source": source, "meters": []schema.Meter{{ID: "scan", Address: "000000000000", Model: "dlt645-1p"}}})
	if err != nil {
		return nil, err
	}
	p, err := schema.ParsePolicy(text)
	var refused *schema.Error
	if errors.As(err, &refused) {
		lines := make([]string, len(refused.Problems))
		for i, problem := range refused.Problems {
			lines[i] = strings.Replace(problem.String(), "source.", "--", 1)
		}
		return nil, errors.New(strings.Join(lines, "; "))
	}
	if err != nil {
		return nil, err
	}
	return &p.Source, nil
}

func scan(ctx context.Context, s schema.Source) (scanned, error) {
	d := dlt645.New()
	defer d.Release(s)
	found, err := d.Scan(ctx, s)
	out := scanned{Meters: make([]string, len(found))}
	for i, a := range found {
		out.Meters[i] = a.String()
	}
	if err == nil && len(found) == 0 {
		err = errors.New("no meter answered; check the wiring, --baud and --parity")
	}
	return out, err
}

func printScanned(c *cobra.Command, f output.Format, s scanned) error {
	if f != output.Table {
		return output.Write(c.OutOrStdout(), f, s)
	}
	rows := make([][]string, len(s.Meters))
	for i, m := range s.Meters {
		rows[i] = []string{m}
	}
	return output.Rows(c.OutOrStdout(), []string{"ADDRESS"}, rows)
}
