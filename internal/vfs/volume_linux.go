package vfs

import (
	"encoding/hex"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Volume implements Placer.
//
// The UUID comes from the file system itself (FS_IOC_GETFSUUID, since Linux 6.10), not from statfs: XFS derives its f_fsid from
// the device number, which changes with each attachment. If the kernel does not know the call, inode and birth time remain,
// which differ in every copy that was made file by file.
func (osFS) Volume(dir string) *Volume {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	v := new(Volume)
	var st unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st) == nil {
		if st.Mask&unix.STATX_INO != 0 {
			v.Inode = st.Ino
		}
		if st.Mask&unix.STATX_BTIME != 0 {
			v.Birth = time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).UnixNano()
		}
	}
	var id struct {
		n    uint8
		uuid [16]byte
	}
	const getUUID = 2<<30 | unsafe.Sizeof(id)<<16 | 0x15<<8 // _IOR(0x15, 0, struct fsuuid2)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), getUUID, uintptr(unsafe.Pointer(&id))); errno == 0 && int(id.n) <= len(id.uuid) {
		v.UUID = hex.EncodeToString(id.uuid[:id.n])
	}
	return v
}
