package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"gnomon/cli/input"
	"gnomon/edge/local"
	"gnomon/schema"
)

const manifestForm = `
The file is what gnomon apply takes of an application, and gnomon get prints:

  kind: application
  name: probe
  desired:
    mode: host
    run: {command: [/usr/bin/probe]}`

func installCommand() *cobra.Command {
	var o changing
	var file, archive string
	c := &cobra.Command{
		Use:   "install -f FILE",
		Short: "Install an application on this node alone",
		Long: `Install an application on this node alone, with or without a cloud. It stays until
its lease is over, it is uninstalled, or the cloud asks for the same.
` + manifestForm + `

With --archive the component named in the file comes from a local image layout (a
directory or a tar of one), an archive or a directory.` + leases,
		Example: "  gnomon-edge install -f probe.yaml --for 8h --reason \"commissioning\"\n  gnomon-edge install -f reader.yaml --archive /media/usb/meter-reader.tar",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.put(c, "", file, archive, "If-None-Match")
		},
	}
	o.flags(c)
	c.Flags().StringVarP(&file, "file", "f", "", "the application, as YAML or JSON; - is standard input")
	c.Flags().StringVar(&archive, "archive", "", "where the component is to be taken from")
	_ = c.MarkFlagRequired("file") // the flag is there
	return c
}

func updateCommand() *cobra.Command {
	var o changing
	var file, archive, component string
	c := &cobra.Command{
		Use:   "update NAME (--component REFERENCE | -f FILE)",
		Short: "Change an application for a time: its component, or all of it",
		Long: `Change an application for a time: its component, or all that is wanted of it.
` + manifestForm + `

With --archive the component comes from a local image layout, archive or directory.` + leases,
		Example: "  gnomon-edge update web --component web@1.4.3 --archive /media/usb/web-1.4.3.tar\n  gnomon-edge update web -f web.yaml --for 1h --dry-run",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case (file == "") == (component == ""):
				return usageError{errors.New("give either --component or -f")}
			case file != "":
				return o.put(c, args[0], file, archive, "If-Match")
			}
			if err := o.bring(c, component, archive); err != nil {
				return err
			}
			return o.patch(c, args[0], map[string]any{"component": component})
		},
	}
	o.flags(c)
	c.Flags().StringVarP(&file, "file", "f", "", "all that is wanted, as YAML or JSON; - is standard input")
	c.Flags().StringVar(&component, "component", "", "another component: name@version or file:///path")
	c.Flags().StringVar(&archive, "archive", "", "where the component is to be taken from")
	return c
}

// put sends all that is wanted of an application.
func (o *changing) put(c *cobra.Command, name, file, archive, condition string) error {
	m, err := readManifest(file, c.InOrStdin())
	if err != nil {
		return err
	}
	if name != "" && m.Name != "" && m.Name != name {
		return usageError{fmt.Errorf("%s is about %s, not %s", file, m.Name, name)}
	}
	if name == "" {
		name = m.Name
	}
	desired, err := json.Marshal(m.Desired)
	if err != nil {
		return fmt.Errorf("%s: desired: %w", file, err)
	}
	if err := o.bring(c, m.component(), archive); err != nil {
		return err
	}
	change := o.change()
	change.Wanted = desired
	return o.send(c, http.MethodPut, name, change, condition, "*")
}

// manifest is one application. Members that get prints beside these are read and
// ignored.
type manifest struct {
	Kind    schema.Kind `yaml:"kind"`
	Node    any         `yaml:"node"`
	Name    string      `yaml:"name"`
	Desired any         `yaml:"desired"`

	Version        any `yaml:"version"`
	DesiredVersion any `yaml:"desiredVersion"`
	Timestamp      any `yaml:"timestamp"`
	Reported       any `yaml:"reported"`
	Delta          any `yaml:"delta"`
	Status         any `yaml:"status"`
}

// maxManifest bounds a file.
const maxManifest = 1 << 20

func readManifest(file string, stdin io.Reader) (m manifest, err error) {
	text, err := input.Read(file, stdin, maxManifest)
	if err != nil {
		return m, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	switch err := dec.Decode(&m); {
	case err != nil:
		return m, usageError{fmt.Errorf("%s: %w", file, err)}
	case m.Kind != schema.KindApplication:
		return m, usageError{fmt.Errorf("%s: kind %q: must be application", file, m.Kind)}
	case m.Name == "":
		return m, usageError{fmt.Errorf("%s: name is missing", file)}
	case m.Desired == nil:
		return m, usageError{fmt.Errorf("%s: desired is missing", file)}
	}
	if err := dec.Decode(new(manifest)); !errors.Is(err, io.EOF) {
		return m, usageError{fmt.Errorf("%s: holds more than one document; one application is installed at a time", file)}
	}
	return m, nil
}

func (m manifest) component() string {
	desired, _ := m.Desired.(map[string]any)
	component, _ := desired["component"].(string)
	return component
}

// bring copies a component to where the agent looks it up.
func (o *changing) bring(c *cobra.Command, component, from string) error {
	if from == "" || o.dry {
		return nil
	}
	s, err := o.open(c)
	if err != nil {
		return err
	}
	var status local.Status
	if err := s.Ask(c.Context(), http.MethodGet, "/v1/status", nil, &status); err != nil {
		return err
	}
	return bring(c.Context(), c.ErrOrStderr(), delivery{component: component, from: from, to: status.Components})
}
