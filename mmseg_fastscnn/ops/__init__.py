"""The operations that make Fast-SCNN fast: functions of tensors, for any network.

from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax  # label maps
from mmseg_fastscnn.ops.upsample_loss import upsample_cross_entropy
from mmseg_fastscnn.ops.upsample_sums import upsample_sums  # other losses
from mmseg_fastscnn.ops.mean_softmax import mean_softmax  # of several views
from mmseg_fastscnn.ops.cell_argmax import cell_argmax  # label maps in NumPy
"""
