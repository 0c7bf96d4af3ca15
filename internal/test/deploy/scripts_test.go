package deploy

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const scripts = "../../../examples/deploy/systemd/aws/"

// TestPrepareVolume: a new volume gets a file system once. Any other contents of a volume stay unchanged, to the last byte.
func TestPrepareVolume(t *testing.T) {
	need(t, "mkfs.ext4", "e2fsck", "mkswap", "blkid", "cmp")
	const size = 320 << 20
	fresh := func(t *testing.T) string {
		p := filepath.Join(t.TempDir(), "volume")
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(p, size); err != nil {
			t.Fatal(err)
		}
		return p
	}
	put := func(at int64, b ...byte) func(*testing.T, string) {
		return func(t *testing.T, p string) {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	run := func(program string, args ...string) func(*testing.T, string) {
		return func(t *testing.T, p string) {
			if out, err := exec.Command(program, append(args, p)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	mkfs := run("mkfs.ext4", "-q")
	table := append(make([]byte, 510), 0x55, 0xaa)
	copy(table[446:], []byte{0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 8, 0})
	const made, kept, refused = "made", "kept", "refused"
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, string)
		want    string
		says    string
	}{
		{"new", func(*testing.T, string) {}, made, "was empty"},
		{"ext4", mkfs, kept, "TYPE=ext4"},
		{"swap", run("mkswap"), kept, "TYPE=swap"},
		{"a partition table", put(0, table...), refused, "partition table"},
		{"ext4 where a swap area was", func(t *testing.T, p string) {
			mkfs(t, p)
			put(4096-10, []byte("SWAPSPACE2")...)(t, p)
		}, kept, ""},
		{"one byte at the beginning", put(3, 1), refused, "not empty"},
		{"one byte at the second superblock of ext4", put(128<<20+1080, 0x53), refused, "not empty"},
		{"ext4 whose first superblock is gone", func(t *testing.T, p string) {
			mkfs(t, p)
			put(0, make([]byte, 64<<10)...)(t, p)
		}, refused, "not empty"},
		{"no volume", func(t *testing.T, p string) { os.Remove(p) }, refused, ""},
		{"no room", func(t *testing.T, p string) { os.Truncate(p, 0) }, refused, "left as it is"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			p := fresh(t)
			c.prepare(t, p)
			before := sum(t, p)
			out, err := exec.Command("sh", scripts+"prepare-volume", p).CombinedOutput()
			if (err == nil) != (c.want != refused) || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, want %s and %q: %s", err, c.want, c.says, out)
			}
			now := sum(t, p)
			if (now != before) != (c.want == made) {
				t.Errorf("it has changed: %v", now != before)
			}
			if c.want != made {
				return
			}
			if out, err := exec.Command("sh", scripts+"prepare-volume", p).CombinedOutput(); err != nil || sum(t, p) != now {
				t.Errorf("the next boot: %v: %s", err, out)
			}
			if out, err := exec.Command("e2fsck", "-fn", p).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		return "none"
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return string(h.Sum(nil))
}

// instead puts a program before all others of its name.
func instead(t *testing.T, name, script string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
}

// TestFetchSecrets: files are complete and belong to the user; if one secret is missing, the others and an older file are still
// available.
func TestFetchSecrets(t *testing.T) {
	need(t, "sh")
	dir := t.TempDir()
	list := filepath.Join(dir, "list")
	lines := "a arn:aws:secretsmanager:eu-central-1:1:secret:a\ngone arn:aws:secretsmanager:eu-central-1:1:secret:gone\n" +
		"binary arn:aws:secretsmanager:eu-central-1:1:secret:binary\nhalf arn:aws:ssm:eu-west-1:1:parameter/half\n\nbad not-an-arn\nb arn:aws-cn:ssm:cn-north-1:1:parameter/b" // without a newline
	if err := os.WriteFile(list, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "half"), []byte("older"), 0o400); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", scripts+"fetch-secrets", list, dir)
	cmd.Env = instead(t, "aws", `cat >/dev/null # as a program that reads the list's lines
case "$*" in
"secretsmanager get-secret-value --region eu-central-1 --secret-id arn:aws:secretsmanager:eu-central-1:1:secret:a --query SecretString --output text") echo "content of a" ;;
"ssm get-parameter --region cn-north-1 --name arn:aws-cn:ssm:cn-north-1:1:parameter/b --with-decryption --query Parameter.Value --output text") echo "content of b" ;;
*half*) printf "a part"; exit 1 ;;
*binary*) echo None ;;
*) echo "not found" >&2; exit 254 ;;
esac
`)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err == nil {
		t.Error("it does not fail, and is not repeated")
	}
	if strings.Contains(out.String()+errs.String(), "content of") {
		t.Error("it prints a secret")
	}
	for _, name := range []string{"gone", "binary", "half", "bad"} {
		if !strings.Contains(errs.String(), name+" was not fetched") {
			t.Errorf("%s is not reported: %s", name, errs.String())
		}
	}
	have := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		b, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		have[e.Name()] = string(b)
		if info, _ := e.Info(); e.Name() != "list" && info.Mode() != 0o400 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	delete(have, "list")
	if len(have) != 3 || have["a"] != "content of a\n" || have["b"] != "content of b\n" || have["half"] != "older" {
		t.Errorf("%q", have)
	}
}

// TestEBSDevice reads the name from where EC2 writes it, with and without /dev/ and padding.
func TestEBSDevice(t *testing.T) {
	need(t, "dd", "tr")
	for stored, want := range map[string]string{"/dev/sdf": "sdf\n", "sdf   ": "sdf\n", "xvdba": "xvdba\n"} {
		identity := filepath.Join(t.TempDir(), "identity")
		b := append(bytes.Repeat([]byte{'x'}, 3072), make([]byte, 1024)...)
		copy(b[3072:], stored)
		if err := os.WriteFile(identity, b, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", scripts+"ebs-device", "/dev/nvme1n1")
		cmd.Env = instead(t, "nvme", `[ "$*" = "id-ctrl --raw-binary /dev/nvme1n1" ] && cat '`+identity+`'`)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%q: %v: %q", stored, err, out)
		}
	}
}
