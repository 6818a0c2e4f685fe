"""Public data sets that differ from a folder of pairs only in names and ids.

Each text lists classes with their colours as rrggbb, in the order of the train ids.
Below are the data sets under mmsegmentation's names (which has no CamVid and no KITTI).
"""

from mmseg_fastscnn.datasets.cityscapes import LABEL_IDS, CityscapesDataset
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.structures import IGNORED

CAMVID = """
    sky 808080, building 800000, pole c0c080, road 804080, sidewalk 0000c0, tree 808000,
    sign symbol c08080, fence 404080, car 400080, pedestrian 404000, bicyclist 0080c0
"""
VOC = """
    background 000000, aeroplane 800000, bicycle 008000, bird 808000, boat 000080,
    bottle 800080, bus 008080, car 808080, cat 400000, chair c00000, cow 408000,
    diningtable c08000, dog 400080, horse c00080, motorbike 408080, person c08080,
    pottedplant 004000, sheep 804000, sofa 00c000, train 80c000, tvmonitor 004080
"""
ADE20K = """
    wall 787878, building b47878, sky 06e6e6, floor 503232, tree 04c803, ceiling 787850,
    road 8c8c8c, bed cc05ff, windowpane e6e6e6, grass 04fa07, cabinet e005ff,
    sidewalk ebff07, person 96053d, earth 787846, door 08ff33, table ff0652,
    mountain 8fff8c, plant ccff04, curtain ff3307, chair cc4603, car 0066c8,
    water 3de6fa, painting ff0633, sofa 0b66ff, shelf ff0747, house ff09e0, sea 0907e6,
    mirror dcdcdc, rug ff095c, field 7009ff, armchair 08ffd6, seat 07ffe0, fence ffb806,
    desk 0aff47, rock ff290a, wardrobe 07ffff, lamp e0ff08, bathtub 6608ff,
    railing ff3d06, cushion ffc207, base ff7a08, box 00ff14, column ff0829,
    signboard ff0599, chest of drawers 0633ff, counter eb0cff, sand a09614, sink 00a3ff,
    skyscraper 8c8c8c, fireplace fa0a0f, refrigerator 14ff00, grandstand 1fff00,
    path ff1f00, stairs ffe000, runway 99ff00, case 0000ff, pool table ff4700,
    pillow 00ebff, screen door 00adff, stairway 1f00ff, river 0bc8c8, bridge ff5200,
    bookcase 00fff5, blind 003dff, coffee table 00ff70, toilet 00ff85, flower ff0000,
    book ffa300, hill ff6600, bench c2ff00, countertop 008fff, stove 33ff00,
    palm 0052ff, kitchen island 00ff29, computer 00ffad, swivel chair 0a00ff,
    boat adff00, bar 00ff99, arcade machine ff5c00, hovel ff00ff, bus ff00f5,
    towel ff0066, light ffad00, truck ff0014, tower ffb8b8, chandelier 001fff,
    awning 00ff3d, streetlight 0047ff, booth ff00cc, television receiver 00ffc2,
    airplane 00ff52, dirt track 000aff, apparel 0070ff, pole 3300ff, land 00c2ff,
    bannister 007aff, escalator 00ffa3, ottoman ff9900, bottle 00ff0a, buffet ff7000,
    poster 8fff00, stage 5200ff, van a3ff00, ship ffeb00, fountain 08b8aa,
    conveyer belt 8500ff, canopy 00ff5c, washer b800ff, plaything ff001f,
    swimming pool 00b8ff, stool 00d6ff, barrel ff0070, basket 5cff00, waterfall 00e0ff,
    tent 70e0ff, bag 46b8a0, minibike a300ff, cradle 9900ff, oven 47ff00, ball ff00a3,
    food ffcc00, step ff008f, tank 00ffeb, trade name 85ff00, microwave ff00eb,
    pot f500ff, animal ff007a, bicycle fff500, lake 0abed4, dishwasher d6ff00,
    screen 00ccff, blanket 1400ff, sculpture ffff00, hood 0099ff, sconce 0029ff,
    vase 00ffcc, traffic light 2900ff, tray 29ff00, ashcan ad00ff, fan 00f5ff,
    pier 4700ff, crt screen 7a00ff, plate 00ffb8, monitor 005cff, bulletin board b8ff00,
    shower 0085ff, radiator ffd600, glass 19c2c2, clock 66ff00, flag 5c00ff
"""
MAPILLARY_V1 = """
    Bird a52a2a, Ground Animal 00c000, Curb c4c4c4, Fence be9999, Guard Rail b4a5b4,
    Barrier 5a7896, Wall 66669c, Bike Lane 8040ff, Crosswalk - Plain 8c8cc8,
    Curb Cut aaaaaa, Parking faaaa0, Pedestrian Area 606060, Rail Track e6968c,
    Road 804080, Service Lane 6e6e6e, Sidewalk f423e8, Bridge 966464, Building 464646,
    Tunnel 96785a, Person dc143c, Bicyclist ff0000, Motorcyclist ff0064,
    Other Rider ff00c8, Lane Marking - Crosswalk c88080, Lane Marking - General ffffff,
    Mountain 40aa40, Sand e6a032, Sky 4682b4, Snow beffff, Terrain 98fb98,
    Vegetation 6b8e23, Water 00aa1e, Banner ffff80, Bench fa001e, Bike Rack 648cb4,
    Billboard dcdcdc, Catch Basin dc8080, CCTV Camera de2828, Fire Hydrant 64aa1e,
    Junction Box 282828, Mailbox 212121, Manhole 6480a0, Phone Booth 8e0000,
    Pothole 466496, Street Light d2aa64, Pole 999999, Traffic Sign Frame 808080,
    Utility Pole 000050, Traffic Light faaa1e, Traffic Sign (Back) c0c0c0,
    Traffic Sign (Front) dcdc00, Trash Can 8c8c14, Bicycle 770b20, Boat 9600ff,
    Bus 003c64, Car 00008e, Caravan 00005a, Motorcycle 0000e6, On Rails 005064,
    Other Vehicle 804040, Trailer 00006e, Truck 000046, Wheeled Slow 0000c0,
    Car Mount 202020, Ego Vehicle 780a0a, Unlabeled 000000
"""
MAPILLARY_V2 = """
    Bird a52a2a, Ground Animal 00c000, Ambiguous Barrier faaa1f, Concrete Block faaa20,
    Curb c4c4c4, Fence be9999, Guard Rail b4a5b4, Barrier 5a7896, Road Median faaa21,
    Road Side faaa22, Lane Separator 808080, Temporary Barrier faaa23, Wall 66669c,
    Bike Lane 8040ff, Crosswalk - Plain 8c8cc8, Curb Cut aaaaaa, Driveway faaa24,
    Parking faaaa0, Parking Aisle faaa25, Pedestrian Area 606060, Rail Track e6968c,
    Road 804080, Road Shoulder 6e6e6e, Service Lane 6e6e6e, Sidewalk f423e8,
    Traffic Island 80c480, Bridge 966464, Building 464646, Garage 969696, Tunnel 96785a,
    Person dc143c, Person Group dc143c, Bicyclist ff0000, Motorcyclist ff0064,
    Other Rider ff00c8, Lane Marking - Dashed Line ffffff,
    Lane Marking - Straight Line ffffff, Lane Marking - Zigzag Line faaa1d,
    Lane Marking - Ambiguous faaa1c, Lane Marking - Arrow (Left) faaa1a,
    Lane Marking - Arrow (Other) faaa19, Lane Marking - Arrow (Right) faaa18,
    Lane Marking - Arrow (Split Left or Straight) faaa16,
    Lane Marking - Arrow (Split Right or Straight) faaa15,
    Lane Marking - Arrow (Straight) faaa14, Lane Marking - Crosswalk ffffff,
    Lane Marking - Give Way (Row) faaa13, Lane Marking - Give Way (Single) faaa12,
    Lane Marking - Hatched (Chevron) faaa0c, Lane Marking - Hatched (Diagonal) faaa0b,
    Lane Marking - Other ffffff, Lane Marking - Stop Line ffffff,
    Lane Marking - Symbol (Bicycle) faaa10, Lane Marking - Symbol (Other) faaa0f,
    Lane Marking - Text faaa0f, Lane Marking (only) - Dashed Line ffffff,
    Lane Marking (only) - Crosswalk ffffff, Lane Marking (only) - Other ffffff,
    Lane Marking (only) - Test ffffff, Mountain 40aa40, Sand e6a032, Sky 4682b4,
    Snow beffff, Terrain 98fb98, Vegetation 6b8e23, Water 00aa1e, Banner ffff80,
    Bench fa001e, Bike Rack 648cb4, Catch Basin dc8080, CCTV Camera de2828,
    Fire Hydrant 64aa1e, Junction Box 282828, Mailbox 212121, Manhole 6480a0,
    Parking Meter 1414ff, Phone Booth 8e0000, Pothole 466496,
    Signage - Advertisement faab1e, Signage - Ambiguous faac1e, Signage - Back faad1e,
    Signage - Information faae1e, Signage - Other faaf1e, Signage - Store fab01e,
    Street Light d2aa64, Pole 999999, Pole Group 999999, Traffic Sign Frame 808080,
    Utility Pole 000050, Traffic Cone d23c3c, Traffic Light - General (Single) faaa1e,
    Traffic Light - Pedestrians faaa1e, Traffic Light - General (Upright) faaa1e,
    Traffic Light - General (Horizontal) faaa1e, Traffic Light - Cyclists faaa1e,
    Traffic Light - Other faaa1e, Traffic Sign - Ambiguous c0c0c0,
    Traffic Sign (Back) c0c0c0, Traffic Sign - Direction (Back) c0c0c0,
    Traffic Sign - Direction (Front) dcdc00, Traffic Sign (Front) dcdc00,
    Traffic Sign - Parking 0000c4, Traffic Sign - Temporary (Back) c0c0c0,
    Traffic Sign - Temporary (Front) dcdc00, Trash Can 8c8c14, Bicycle 770b20,
    Boat 9600ff, Bus 003c64, Car 00008e, Caravan 00005a, Motorcycle 0000e6,
    On Rails 005064, Other Vehicle 804040, Trailer 00006e, Truck 000046,
    Vehicle Group 00008e, Wheeled Slow 0000c0, Water Valve aaaaaa, Car Mount 202020,
    Dynamic 6f4a00, Ego Vehicle 780a0a, Ground 510051, Static 6f6f00, Unlabeled 000000
"""


def metainfo(table: str) -> dict:
    """Make `classes` and `palette` of a text of names, each followed by its colour."""
    pairs = [entry.strip().rsplit(' ', 1) for entry in table.split(',')]
    return dict(
        classes=tuple(' '.join(name.split()) for name, _ in pairs),
        palette=[tuple(bytes.fromhex(colour)) for _, colour in pairs],
    )


@DATASETS.register_module()
class CamVidDataset(SegDataset):
    """CamVid in the 11-class form of the SegNet tutorial, frames of 480x360.

    `train`, `val`, `test` and, for labels, `trainannot`, ...; 11 is unlabelled and
    ignored. Colours are those of the data set's own colour files.
    """

    METAINFO = metainfo(CAMVID)
    LABEL_MAP = {**{k: k for k in range(11)}, 11: IGNORED}


@DATASETS.register_module()
class PascalVOCDataset(SegDataset):
    """`JPEGImages` and `SegmentationClass`; borders are 255 and ignored."""

    METAINFO = metainfo(VOC)
    IMG_SUFFIX = '.jpg'


@DATASETS.register_module()
class ADE20KDataset(SegDataset):
    """`images/training` and `annotations/training`; 0 is what has no class."""

    METAINFO = metainfo(ADE20K)
    IMG_SUFFIX = '.jpg'
    REDUCE_ZERO_LABEL = True


@DATASETS.register_module()
class MapillaryDataset_v1(SegDataset):
    """Mapillary Vistas 1.2: `images` and `v1.2/labels` of `training`."""

    METAINFO = metainfo(MAPILLARY_V1)
    IMG_SUFFIX = '.jpg'


@DATASETS.register_module()
class MapillaryDataset_v2(SegDataset):
    """Mapillary Vistas 2.0: `images` and `v2.0/labels` of `training`."""

    METAINFO = metainfo(MAPILLARY_V2)
    IMG_SUFFIX = '.jpg'


@DATASETS.register_module()
class BDD100KDataset(SegDataset):
    """`images/10k/train` and `labels/sem_seg/masks/train`, in Cityscapes' trainIds."""

    METAINFO = CityscapesDataset.METAINFO
    IMG_SUFFIX = '.jpg'


@DATASETS.register_module()
class NightDrivingDataset(SegDataset):
    """`leftImg8bit/test/night` and `gtCoarse_daytime_trainvaltest/test/night`."""

    METAINFO = CityscapesDataset.METAINFO
    IMG_SUFFIX = '_leftImg8bit.png'
    SEG_MAP_SUFFIX = '_gtCoarse_labelTrainIds.png'


@DATASETS.register_module()
class DarkZurichDataset(SegDataset):
    """`rgb_anon/val/night/GOPR0356` and `gt/val/night/GOPR0356`."""

    METAINFO = CityscapesDataset.METAINFO
    IMG_SUFFIX = '_rgb_anon.png'
    SEG_MAP_SUFFIX = '_gt_labelTrainIds.png'


@DATASETS.register_module()
class KITTIDataset(SegDataset):
    """`training/image_2` and `training/semantic`, in Cityscapes' labelIds."""

    METAINFO = CityscapesDataset.METAINFO
    IMG_SUFFIX = '.png'
    LABEL_MAP = LABEL_IDS
