package schema

// NodeAgent is the version of the agent that a node is to run. Without it a node
// keeps the one it has.
type NodeAgent struct {
	Version   string `json:"version"`             // as gnomon-edge version prints it
	Component string `json:"component,omitempty"` // with the programs gnomon-edge and gnomon-shim; default gnomon-edge@VERSION
	Digest    string `json:"digest,omitempty"`    // the component must have, as sha256:…
	Downgrade bool   `json:"downgrade,omitempty"` // it may be lower than the one that runs
}

// AgentComponent is what the component of an agent is called unless something
// else is said.
const AgentComponent = "gnomon-edge"

var (
	agentVersion   = lazily(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
	agentComponent = lazily(`^([a-z0-9][a-z0-9._/-]{0,127}@[A-Za-z0-9][A-Za-z0-9._+-]{0,63}|file:///[^#]{1,400}(#[^#]{1,64})?)$`)
	agentDigest    = lazily(`^sha256:[a-f0-9]{64}$`)
)

func (a *NodeAgent) check(c *check) {
	if a == nil {
		return
	}
	c.need(agentVersion.MatchString(a.Version), "node.agent.version", "must be 1 to 64 of letters, digits and ._+-, starting with a letter or digit", a.Version)
	if a.Component == "" {
		a.Component = AgentComponent + "@" + a.Version
	} else {
		c.need(agentComponent.MatchString(a.Component), "node.agent.component", "must be name@version or file:///path", a.Component)
	}
	c.need(a.Digest == "" || agentDigest.MatchString(a.Digest), "node.agent.digest", "must be sha256: and 64 hexadecimal digits", a.Digest)
}
