package matrix

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/test/s3d"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/s3ship"
)

// TestWrongKey: the key in the operator's file is not good any more, as the real server finds by the signature. It is
// parked and says so; a corrected file is enough, without a restart.
func TestWrongKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": file + "-none",
		"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "",
	} {
		t.Setenv(name, value)
	}
	var b *s3ship.Destination
	r := startRig(t, setup{s3Dest: func(r *rig) ship.Destination {
		write(t, file, "[default]\naws_access_key_id = "+r.gw.Access+"\naws_secret_access_key = wrong\n")
		var err error
		b, err = s3ship.Open(context.Background(), "s3://"+testserver.Bucket+"/p?path_style=true&region=us-east-1&endpoint="+url.QueryEscape("http://"+r.s3net.Addr), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}})
	r.text(4, 50)
	r.start()
	r.state("s3", ship.StateParked)
	r.delivered("idc")
	if err := r.sh.Stats()["s3"].Err; !strings.Contains(err.Error(), "SignatureDoesNotMatch") || strings.Contains(err.Error(), r.gw.Secret) {
		t.Errorf("the error: %v", err)
	}
	r.honest()
	write(t, file, "[default]\naws_access_key_id = "+r.gw.Access+"\naws_secret_access_key = "+r.gw.Secret+"\n")
	r.finish()
}

// TestCompat: an older store gets no checksum and no condition; answers are lost all the same, and everything is there
// once, by reading back.
func TestCompat(t *testing.T) {
	r := newRig(t, setup{compat: true})
	r.s3.SetPlan(first("Put", 3, s3d.Fault{Lose: true}))
	r.text(6, 50)
	r.start()
	r.finish()
	for m, err := range ship.ReadChain(t.Context(), r.disk("s3"), "vpn", r.sp.Stats().Spool, 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range m.Segments {
			if line.Receipt.Method != "read-back" {
				t.Errorf("receipt %+v", line.Receipt)
			}
		}
	}
}
