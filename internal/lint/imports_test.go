// Package lint holds the rules of the code base as tests.
package lint

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/penstock-go/penstock"

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
}

// list queries the go tool about packages, always for Linux, where every file is built.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps,Standard"}, args...)...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOOS=linux")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// layers sets which of our own packages each package may import, and which foreign modules. A package that is not listed may
// import nothing. "examples/" may use all of them, but see TestExamplesCopy.
var layers = map[string][]string{
	"":                           {},
	"compress":                   {"github.com/klauspost/compress", "github.com/pierrec/lz4/v4"},
	"ingest":                     {"internal/foreign", "internal/giveway", "internal/limits", "internal/memnet", "internal/secret", "internal/steadylog", "internal/units", "spool/segment", "golang.org/x/sys", "github.com/pires/go-proxyproto", "internal/wait"},
	"ingest/fluentforward":       {"ingest", "ingest/internal/jsonstring", "spool/segment"},
	"ingest/internal/jsonstring": {},
	"ingest/lumberjack":          {"ingest", "ingest/internal/jsonstring", "spool/segment"},
	"ingest/relp":                {"ingest", "spool/segment"},
	"ingest/udprelay":            {"ingest", "internal/steadylog", "spool/segment", "golang.org/x/sys"},
	"spool":                      {"internal/foreign", "internal/giveway", "internal/hist", "spool/object", "internal/steadylog", "internal/units", "spool/segment", "internal/vfs", "internal/wait", "spool/internal/fatal", "spool/internal/index", "spool/internal/statefile", "github.com/minio/crc64nvme"},
	"spool/internal/index":       {"internal/vfs", "spool/internal/statefile", "go.etcd.io/bbolt"},
	"spool/internal/statefile":   {"internal/vfs"},
	"spool/internal/fatal":       {},
	"spool/segment":              {},
	"spool/object":               {"spool/segment"},
	"ship":                       {"internal/foreign", "internal/hist", "internal/wait", "ship/format", "spool/object", "internal/secret", "internal/units", "spool", "spool/segment", "github.com/minio/crc64nvme"},
	"ship/format":                {"compress", "spool/object", "spool/segment"},
	"ship/audit":                 {"internal/foreign", "internal/scrub", "internal/units", "internal/vfs", "internal/wait", "ship/format", "spool/object", "ship", "spool/segment", "compress"},
	"ship/fileship":              {"internal/wait", "spool/object", "internal/steadylog", "ship", "golang.org/x/sys"},
	"ship/open":                  {"ship/format", "internal/wait", "ship", "ship/fileship", "ship/s3ship", "ship/sftpship", "spool/object", "spool/segment"},
	"ship/s3ship":                {"spool/object", "internal/direct", "internal/steadylog", "ship", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", "github.com/minio/crc64nvme"},
	"ship/sftpship":              {"spool/object", "internal/secret", "internal/shell", "internal/steadylog", "ship", "internal/sftpc", "golang.org/x/crypto"},
	"ship/shiptest":              {"internal/wait", "ship"},
	"drain":                      {"internal/foreign", "internal/scrub", "spool/object", "internal/steadylog", "internal/units", "ship", "spool", "spool/segment", "internal/vfs", "internal/wait"},
	"drain/asg":                  {"drain/internal/backlog", "internal/direct", "internal/steadylog", "internal/vfs", "drain", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", "internal/wait"},
	"drain/monitor":              {"internal/foreign", "drain", "drain/status", "ship", "spool", "spool/segment", "github.com/prometheus/client_golang", "github.com/prometheus/client_model"},
	"drain/ecs":                  {"drain/internal/backlog", "internal/steadylog", "drain"},
	"drain/kube":                 {"internal/scrub", "internal/steadylog", "drain"},
	"drain/draintest":            {"drain/asg"},
	"drain/internal/backlog":     {},
	"drain/status":               {"drain", "ingest", "internal/scrub", "internal/units", "internal/vfs", "internal/wait", "ship", "spool", "spool/segment"},
	"internal/scrub":             {},
	"internal/secret":            {"internal/shell"},
	"internal/docs/record":       {"golang.org/x/sys"},
	"internal/foreign":           {"internal/wait"},
	"internal/giveway":           {},
	"internal/hist":              {},
	"internal/steadylog":         {"internal/foreign", "internal/wait"},
	"internal/test/golden":       {},
	"internal/test/growth":       {},
	"internal/units":             {},
	"internal/wait":              {},
	"internal/vfs":               {"golang.org/x/sys"},
	"internal/direct":            {},
	"internal/test/s3d":          {},
	"internal/explore":           {},
	"internal/test/e2e":          {},
	"internal/test/faultproxy":   {"internal/test/s3d"},
	"internal/test/matrix":       {},
	"internal/test/packages":     {},
	"internal/test/shown":        {},
	"internal/sftpc":             {},
	"internal/limits":            {"golang.org/x/sys"},
	"internal/memnet":            {},
	"internal/sim":               {},
	"internal/test/sftpd":        {"github.com/pkg/sftp", "golang.org/x/crypto"},
	"internal/test/testserver":   {"golang.org/x/crypto"},
	"internal/shell":             {},
}

// TestLayers also fails if no import uses an allowance, so that the table shows the actual layers.
func TestLayers(t *testing.T) {
	used := map[string]map[string]bool{} // package, allowance
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if strings.HasPrefix(name, "examples/") {
			continue
		}
		allowed, known := layers[name]
		if !known && len(p.Imports) > 0 {
			t.Errorf("package %q is in no layer: add it to the table with what it may import", name)
			continue
		}
		used[name] = map[string]bool{}
		for _, imp := range p.Imports {
			own, isOwn := strings.CutPrefix(imp, module+"/")
			if !isOwn && !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				continue // standard library
			}
			i := slices.IndexFunc(allowed, func(a string) bool {
				return isOwn && own == a || !isOwn && (imp == a || strings.HasPrefix(imp, a+"/"))
			})
			if i < 0 {
				t.Errorf("package %q imports %s: its layer does not allow that", name, imp)
				continue
			}
			used[name][allowed[i]] = true
		}
	}
	for name, allowed := range layers {
		if used[name] == nil {
			t.Errorf("the table has a layer for package %q, which does not exist: remove it", name)
			continue
		}
		for _, a := range allowed {
			if !used[name][a] {
				t.Errorf("package %q may import %s and does not: remove it from the table", name, a)
			}
		}
	}
}

// TestExamplesCopy: an example is meant to be copied into another module, which cannot import our internal packages. Only the
// quickstart imports them, because it also runs the servers.
func TestExamplesCopy(t *testing.T) {
	for _, p := range list(t, "./examples/...") {
		if p.ImportPath == module+"/examples/quickstart" {
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module+"/internal/") {
				t.Errorf("%s imports %s, so that it cannot be copied", p.ImportPath, imp)
			}
		}
	}
}

// TestOneOpener: only ship/open turns a URL of any scheme into a destination, and only it imports all drivers. A program that
// chose a driver itself would have to be changed for every new one.
func TestOneOpener(t *testing.T) {
	for _, p := range list(t, "./...") {
		drivers := 0
		for _, imp := range p.Imports {
			own := strings.TrimPrefix(imp, module+"/ship/")
			if own != imp && strings.HasSuffix(own, "ship") {
				drivers++
			}
		}
		if drivers > 1 && p.ImportPath != module+"/ship/open" {
			t.Errorf("%s imports %d drivers: use ship/open", p.ImportPath, drivers)
		}
	}
}

// TestSpoolAlone: a program that imports only the spool builds no cloud SDK, SSH or metrics package.
func TestSpoolAlone(t *testing.T) {
	const alone = "./internal/lint/testdata/spoolalone"
	build := exec.Command("go", "build", "-o", filepath.Join(t.TempDir(), "alone"), alone)
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	heavy := regexp.MustCompile(`aws|golang\.org/x/crypto/ssh|pkg/sftp|prometheus|net/http$|klauspost/compress|pierrec`)
	for _, dep := range list(t, alone)[0].Deps {
		if heavy.MatchString(dep) {
			t.Errorf("a program that imports only spool builds %s", dep)
		}
	}
}

// TestFormatAlone: a program that only reads records at a destination builds no spool, no index and no driver.
func TestFormatAlone(t *testing.T) {
	const alone = "./internal/lint/testdata/formatalone"
	build := exec.Command("go", "build", "-o", filepath.Join(t.TempDir(), "alone"), alone)
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	heavy := regexp.MustCompile(`bbolt|aws|smithy|golang\.org/x/crypto/ssh|pkg/sftp|prometheus|net/http$|penstock/(spool|ship|drain|ingest|internal/.*)$`)
	for _, dep := range list(t, alone)[0].Deps {
		if heavy.MatchString(dep) {
			t.Errorf("a program that imports only ship/format builds %s", dep)
		}
	}
}

// TestDrainAlone: a program that imports only drain builds no platform's SDK.
func TestDrainAlone(t *testing.T) {
	for _, dep := range list(t, "./drain")[0].Deps {
		if strings.Contains(dep, "aws") || strings.Contains(dep, "smithy") {
			t.Errorf("a program that imports only drain builds %s", dep)
		}
	}
}

// direct lists the modules that the root go.mod may require directly, each with its reason in internal/docs/design.md.
var direct = []string{
	"github.com/aws/aws-sdk-go-v2",
	"github.com/aws/aws-sdk-go-v2/config",
	"github.com/aws/aws-sdk-go-v2/credentials",
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds",
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager",
	"github.com/aws/aws-sdk-go-v2/service/autoscaling",
	"github.com/aws/aws-sdk-go-v2/service/s3",
	"github.com/aws/smithy-go",
	"github.com/gopacket/gopacket",
	"github.com/klauspost/compress",
	"github.com/minio/crc64nvme",
	"github.com/pierrec/lz4/v4",
	"github.com/pires/go-proxyproto",
	"github.com/pkg/sftp",
	"github.com/prometheus/client_golang",
	"github.com/prometheus/client_model",
	"go.etcd.io/bbolt",
	"go.uber.org/goleak",
	"go.yaml.in/yaml/v3",
	"golang.org/x/crypto",
	"golang.org/x/sys",
	"golang.org/x/term",
}

func TestDirectRequirements(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	design, err := os.ReadFile(filepath.Join(root(t), "internal/docs/design.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		if !slices.Contains(direct, r.Path) {
			t.Errorf("go.mod requires %s: every embedder would get it; name it here and its reason in design.md, or do without", r.Path)
		}
		if !strings.Contains(string(design), "`"+r.Path+"`") {
			t.Errorf("internal/docs/design.md gives no reason for %s", r.Path)
		}
	}
	if len(mod.Tool) > 0 {
		t.Errorf("go.mod has tool directives; they leak into every embedder's module graph: %v", mod.Tool)
	}
}
