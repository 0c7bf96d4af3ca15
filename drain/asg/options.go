package asg

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// Options configure a Lifecycle. The zero value of every field means its documented default.
type Options struct {
	// Hook is the name of the termination hook; default the group's only one.
	Hook string
	// Dir is drain.Options.Dir. A note in it (asg.json) says that this instance was in service. So a process that is
	// restarted while the instance returns to a warm pool does not mistake that for the first start in the pool. Default:
	// no note.
	Dir string
	// Timeout and StallTimeout are those of drain.Options. At startup the hook is compared with them; default no
	// comparison.
	Timeout, StallTimeout time.Duration
	// ProtectAbove makes the group choose other instances for a scale-in while this one has more payload bytes to
	// deliver, summed over classes and destinations, and until only half as many are left; default 0, never. It takes
	// over the instance's scale-in protection, and needs autoscaling:SetInstanceProtection.
	ProtectAbove int64
	// Retry is the pause between two attempts to call the API; default 5 s.
	Retry time.Duration
	// CompleteTimeout bounds the attempts to complete the action while the instance is still being deregistered from its
	// load balancers, which precedes the hook; default 1 h, the longest deregistration delay. If the API says that no
	// action waits although one should, the bound is a twelfth of that.
	CompleteTimeout time.Duration
	// Metadata and Service answer all requests; default IMDSv2 and the API, as the AWS SDK finds them.
	Metadata Metadata
	Service  Service
	// Logger; nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Retry == 0 {
		d.Retry = 5 * time.Second
	}
	if d.CompleteTimeout == 0 {
		d.CompleteTimeout = time.Hour
	}
	d.Logger = steadylog.Wrap(d.Logger)
	return d
}

func (o *Options) validate() error {
	var errs []error
	if o.Timeout < 0 || o.StallTimeout < 0 || o.Retry < 0 || o.CompleteTimeout < 0 {
		errs = append(errs, errors.New("asg: times must not be negative"))
	}
	if o.ProtectAbove < 0 {
		errs = append(errs, errors.New("asg: Options.ProtectAbove must not be negative"))
	}
	if (o.Metadata == nil) != (o.Service == nil) {
		errs = append(errs, errors.New("asg: set both Options.Metadata and Options.Service, or neither"))
	}
	if strings.ContainsAny(o.Hook, " /:") {
		errs = append(errs, fmt.Errorf("asg: Options.Hook %q is not the name of a hook", o.Hook))
	}
	return errors.Join(errs...)
}

// OnEC2 reports whether this machine identifies itself as an EC2 instance, or AWS_EC2_METADATA_SERVICE_ENDPOINT is set.
// It sends nothing over the network.
func OnEC2() bool {
	if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		return false
	}
	if os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT") != "" {
		return true
	}
	vendor, _ := os.ReadFile("/sys/class/dmi/id/sys_vendor") // Nitro
	uuid, _ := os.ReadFile("/sys/hypervisor/uuid")           // Xen
	return strings.TrimSpace(string(vendor)) == "Amazon EC2" || strings.HasPrefix(string(uuid), "ec2")
}
