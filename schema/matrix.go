package schema

// Mode is how an application runs.
type Mode string

// The modes. One parameter structure serves all three.
const (
	ModeContainer Mode = "container" // its own container
	ModeAttach    Mode = "attach"    // joins the container of another application
	ModeHost      Mode = "host"      // a process of the host
)

// Modes lists the modes in the order of the matrix' columns.
var Modes = []Mode{ModeContainer, ModeAttach, ModeHost}

// Option is one row of the matrix: a group of members of run.
type Option string

// The options.
const (
	OptionEnvironment  Option = "environment"
	OptionPorts        Option = "ports"
	OptionRestart      Option = "restart"
	OptionFiles        Option = "files"
	OptionResources    Option = "resources"
	OptionNetwork      Option = "network"
	OptionDNS          Option = "dns"
	OptionHostname     Option = "hostname"
	OptionPrivileged   Option = "privileged"
	OptionSerial       Option = "serial"
	OptionDevices      Option = "devices"
	OptionCapabilities Option = "capabilities"
	OptionReadOnly     Option = "readOnly"
	OptionUsers        Option = "userNamespace"
	OptionInit         Option = "init"
	OptionVolumes      Option = "volumes"
	OptionTimezone     Option = "timezone"
	OptionLog          Option = "log"
	OptionArgs         Option = "args"
	OptionCommand      Option = "command"
)

// Support says what a mode does with an option.
type Support uint8

// The kinds of support.
const (
	Supported     Support = iota // takes effect on the application alone
	Rebuild                      // takes effect; the container is rebuilt and its applications restart
	RestartOnOver                // takes effect; the application alone is restarted when it goes over
	NotApplicable                // has no meaning in this mode: setting it is refused
	Refused                      // refused for security
)

// Row is one option of the matrix.
type Row struct {
	Option  Option
	Path    string           // where it is set, from the desired section
	Support map[Mode]Support // one entry per mode
	Reason  string           // why the refused ones are refused
}

// Matrix says which option each mode supports. It is enforced by validation and
// by the executors, and shown in the documentation.
var Matrix = []Row{
	{Option: OptionEnvironment, Path: "run.env", Support: row(Supported, Supported, Supported)},
	{Option: OptionPorts, Path: "run.ports", Support: row(Supported, Rebuild, NotApplicable),
		Reason: "a host process binds its own ports"},
	{Option: OptionRestart, Path: "run.restart", Support: row(Supported, Supported, Supported)},
	{Option: OptionFiles, Path: "run.files", Support: row(Supported, Rebuild, Supported)},
	{Option: OptionResources, Path: "run.resources", Support: row(Supported, RestartOnOver, Supported)},
	{Option: OptionNetwork, Path: "run.network", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "an attached application shares the network of its container, a host process that of the node"},
	{Option: OptionDNS, Path: "run.dns", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "an attached application asks as its container does, a host process as the node does"},
	{Option: OptionHostname, Path: "run.hostname", Support: row(Supported, Rebuild, Refused),
		Reason: "a host process would rename the whole node"},
	{Option: OptionPrivileged, Path: "run.privileged", Support: row(Supported, Rebuild, Refused),
		Reason: "a host process already runs beside the agent; give it a user instead"},
	{Option: OptionSerial, Path: "run.serial", Support: row(Supported, Rebuild, NotApplicable),
		Reason: "a host process opens the node's own devices"},
	{Option: OptionDevices, Path: "run.devices", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "an attached application has the devices of its container, a host process those of the node"},
	{Option: OptionCapabilities, Path: "run.capabilities", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "an attached application has the capabilities of its container, a host process those of its user"},
	{Option: OptionReadOnly, Path: "run.readOnly", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "the root file system is that of the container, or of the node"},
	{Option: OptionUsers, Path: "run.userNamespace", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "an attached application has the users of its container, a host process those of the node"},
	{Option: OptionInit, Path: "run.init", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "the first process is that of the container, or of the node"},
	{Option: OptionVolumes, Path: "run.volumes", Support: row(Supported, NotApplicable, NotApplicable),
		Reason: "an attached application sees the volumes of its container, a host process has $GNOMON_DATA"},
	{Option: OptionTimezone, Path: "run.timezone", Support: row(Supported, NotApplicable, Supported),
		Reason: "an attached application has the time zone of its container"},
	{Option: OptionLog, Path: "run.log", Support: row(Supported, Supported, Supported)},
	{Option: OptionArgs, Path: "run.args", Support: row(Supported, Supported, Supported)},
	{Option: OptionCommand, Path: "run.command", Support: row(Supported, Supported, Supported)},
}

func row(container, attach, host Support) map[Mode]Support {
	return map[Mode]Support{ModeContainer: container, ModeAttach: attach, ModeHost: host}
}

// SupportOf returns what mode does with option.
func SupportOf(option Option, mode Mode) Support {
	for _, r := range Matrix {
		if r.Option == option {
			return r.Support[mode]
		}
	}
	return NotApplicable
}

// Allowed tells whether the option may be set in a document.
func (s Support) Allowed() bool { return s < NotApplicable }

func (s Support) String() string {
	switch s {
	case Supported:
		return "yes"
	case Rebuild:
		return "yes, container rebuilt"
	case RestartOnOver:
		return "application restarted when over the limit"
	case NotApplicable:
		return "not applicable"
	default:
		return "refused"
	}
}
