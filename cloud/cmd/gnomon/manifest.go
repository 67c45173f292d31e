package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"gnomon/cli/input"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

// manifest is one document of what apply takes. Members that get prints beside
// these are read and ignored; anything else is a mistake.
type manifest struct {
	Kind    schema.Kind `yaml:"kind"`
	Node    string      `yaml:"node"`
	Name    string      `yaml:"name"`
	Desired any         `yaml:"desired"`

	Version        any `yaml:"version"`
	DesiredVersion any `yaml:"desiredVersion"`
	Timestamp      any `yaml:"timestamp"`
	Reported       any `yaml:"reported"`
	Delta          any `yaml:"delta"`
	Status         any `yaml:"status"`
	Items          []manifest

	// Of a change-set.
	Shadows          any `yaml:"shadows"`
	NotBefore        any `yaml:"notBefore"`
	ExpiresAt        any `yaml:"expiresAt"`
	Windows          any `yaml:"windows"`
	Precondition     any `yaml:"precondition"`
	Wait             any `yaml:"wait"`
	ClearWhenReached any `yaml:"clearWhenReached"`
	Note             any `yaml:"note"`
}

// changeSetKind is that of manifests which are change-sets.
const changeSetKind schema.Kind = "change-set"

func isChangeSet(w wanted) bool { return w.Kind == changeSetKind }

// changeMembers are the members of a change-set that are given.
func (m *manifest) changeMembers() map[string]any {
	body := make(map[string]any)
	for name, v := range map[string]any{
		"shadows": m.Shadows, "notBefore": m.NotBefore, "expiresAt": m.ExpiresAt, "windows": m.Windows,
		"precondition": m.Precondition, "wait": m.Wait, "clearWhenReached": m.ClearWhenReached, "note": m.Note,
	} {
		if v != nil {
			body[name] = v
		}
	}
	return body
}

// changeSet is wanted for a manifest that is one.
func (m *manifest) changeSet(w wanted) (wanted, error) {
	w.Ref = client.Ref{Kind: changeSetKind, Node: m.Node}
	switch {
	case m.Node == "":
		return w, fmt.Errorf("%s: node is missing: which node, or other thing, is the change-set of?", w.origin)
	case m.Name != "" || m.Desired != nil:
		return w, fmt.Errorf("%s: a change-set has shadows, and neither name nor desired", w.origin)
	case m.Shadows == nil:
		return w, fmt.Errorf("%s: shadows is missing", w.origin)
	}
	var err error
	if w.desired, err = json.Marshal(m.changeMembers()); err != nil {
		return w, fmt.Errorf("%s: %w", w.origin, err)
	}
	return w, nil
}

// wanted is a manifest that is ready to be sent.
type wanted struct {
	client.Ref
	desired []byte // JSON
	origin  string // file and document, for messages
}

// maxManifest bounds a file of manifests.
const maxManifest = 16 << 20

// readManifests reads files, directories of *.yaml, *.yml and *.json, or
// standard input for "-". Nodes come first, since the rest is on them.
func readManifests(paths []string, stdin io.Reader) ([]wanted, error) {
	var all []wanted
	for _, path := range paths {
		files, err := manifestFiles(path)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			list, err := readManifestFile(f, stdin)
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no manifests in %s", strings.Join(paths, ", "))
	}
	slices.SortStableFunc(all, func(a, b wanted) int { return rank(a.Kind) - rank(b.Kind) })
	return all, nil
}

func rank(k schema.Kind) int {
	if k == schema.KindNode {
		return 0
	}
	return 1
}

func manifestFiles(path string) ([]string, error) {
	if path == "-" {
		return []string{"-"}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml" || ext == ".json") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, nil
}

func readManifestFile(path string, stdin io.Reader) ([]wanted, error) {
	text, err := input.Read(path, stdin, maxManifest)
	if err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	var list []wanted
	for n := 1; ; n++ {
		var m manifest
		origin := fmt.Sprintf("%s: document %d", path, n)
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", origin, err)
		}
		for _, one := range append(m.Items, m) {
			if one.empty() {
				continue
			}
			w, err := one.wanted(origin)
			if err != nil {
				return nil, err
			}
			list = append(list, w)
		}
	}
}

func (m manifest) empty() bool { return m.Kind == "" && m.Name == "" && m.Desired == nil }

func (m manifest) wanted(origin string) (wanted, error) {
	w := wanted{origin: origin}
	if m.Kind == changeSetKind {
		return m.changeSet(w)
	}
	if len(m.changeMembers()) > 0 {
		return w, fmt.Errorf("%s: shadows, notBefore, expiresAt, windows, precondition, wait, clearWhenReached and note are for kind change-set", origin)
	}
	switch m.Kind {
	case schema.KindNode:
		w.Ref = client.Ref{Kind: m.Kind, Node: m.Name}
		if m.Node != "" {
			return w, fmt.Errorf("%s: a node has a name and no node", origin)
		}
	case schema.KindApplication, schema.KindPolicy:
		w.Ref = client.Ref{Kind: m.Kind, Node: m.Node, Name: m.Name}
		if m.Node == "" {
			return w, fmt.Errorf("%s: node is missing: which node is %s %q on?", origin, m.Kind, m.Name)
		}
	default:
		return w, fmt.Errorf("%s: kind %q: must be node, application, policy or change-set", origin, m.Kind)
	}
	if m.Name == "" {
		return w, fmt.Errorf("%s: name is missing", origin)
	}
	if m.Desired == nil {
		return w, fmt.Errorf("%s: desired is missing", origin)
	}
	var err error
	if w.desired, err = json.Marshal(m.Desired); err != nil {
		return w, fmt.Errorf("%s: desired: %w", origin, err)
	}
	return w, nil
}
