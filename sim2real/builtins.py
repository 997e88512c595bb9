"""Everything that ships with sim2real, offered through the same hooks as a third party's."""

from sim2real.hookspecs import Register, hookimpl


@hookimpl
def register_generators(register: Register) -> None:  # noqa: D103  the hook's own docstring in hookspecs.py is the manual
    at = "sim2real.networks.generators"
    register("encoder-decoder", f"{at}:EncoderDecoder", summary="strided 4x4 convolutions around residual blocks")
    register("resnet", f"{at}:ResNet", summary="7x7 stem, 3x3 strided convolutions, 6 or 9 residual blocks")
    at = "sim2real.networks.colour"
    register("reinhard", f"{at}:Reinhard", summary="untrained: mean and spread of lightness and colours")
    register("histogram", f"{at}:Histogram", summary="untrained: histograms of a real image's channels")
    register("pixel-distribution", f"{at}:PixelDistribution", summary="untrained: mean and covariance of colours")
    register("fda", f"{at}:FourierDomainAdaptation", summary="untrained: low frequencies' amplitudes of a real image")
    register("augment", f"{at}:Variation", summary="untrained: hand-made changes of light, blur and noise")


@hookimpl
def register_discriminators(register: Register) -> None:  # noqa: D103
    at = "sim2real.networks.discriminators"
    register("patch", f"{at}:Patch", summary="judges overlapping patches of 78 pixels, one score a 16x16 cell")
    register("global", f"{at}:Global", summary="judges the whole image with one score")
    register("combined", f"{at}:Combined", summary="patch and global at once")
    register("patchgan70", f"{at}:PatchGAN70", summary="judges overlapping 70x70 patches, one score an 8x8 cell")


@hookimpl
def register_losses(register: Register) -> None:  # noqa: D103
    register("cycle", "sim2real.losses:Cycle", summary="L1 between an image and its way there and back")
    register(
        "identity", "sim2real.losses:Identity", summary="L1 between an image and what its own domain's generator makes"
    )


@hookimpl
def register_methods(register: Register) -> None:  # noqa: D103
    register("cyclegan", "sim2real.methods.cyclegan:CycleGAN", summary="two generators, two critics, cycle consistency")
    register("fit", "sim2real.methods.fit:Fit", summary="shows images to generators that are not trained")


@hookimpl
def register_datasets(register: Register) -> None:  # noqa: D103
    at = "sim2real.datasets"
    register("vkitti2", f"{at}.vkitti:VirtualKitti2", summary="Virtual KITTI 2: Scene01/clone/frames/rgb/Camera_0/...")
    register("vkitti1", f"{at}.vkitti:VirtualKitti1", summary="Virtual KITTI 1.3.1: vkitti_1.3.1_rgb/0001/clone/...")
    register(
        "unity-solo", f"{at}.solo:Solo", summary="Unity Perception: sequence.0/{step0.frame_data.json,step0.camera.png}"
    )
    register(
        "unity-perception", f"{at}.solo:Perception", summary="Unity Perception before SOLO: Dataset*/captures_000.json"
    )
    register(
        "replicator-basic", f"{at}.replicator:ReplicatorBasic", summary="Isaac Sim, BasicWriter: rgb_0000.png, ..."
    )
    register(
        "replicator-coco", f"{at}.replicator:ReplicatorCoco", summary="Isaac Sim, CocoWriter: coco_annotations_*.json"
    )
    register(
        "replicator-kitti",
        f"{at}.replicator:ReplicatorKitti",
        summary="Isaac Sim, KittiWriter: <camera>/rgb/0.png, ...",
    )
    register("replicator-pose", f"{at}.replicator:ReplicatorPose", summary="Isaac Sim, PoseWriter: 000000.{png,json}")
    register(
        "replicator-mobilitygen",
        f"{at}.replicator:ReplicatorMobilityGen",
        summary="Isaac Sim, MobilityGen: state/rgb/<camera>/00000000.jpg",
    )
    register("hypersim", f"{at}.hypersim:Hypersim", summary="Hypersim: ai_001_001/images/scene_cam_00_...")
    register(
        "hypersim-marigold", f"{at}.hypersim:HypersimMarigold", summary="Hypersim for Marigold: rgb_cam_00_fr0000.png"
    )
    register("tartanair-v2", f"{at}.tartanair:TartanAirV2", summary="TartanAir V2, TartanGround: Data_easy/P000/...")
    register("tartanair", f"{at}.tartanair:TartanAir", summary="TartanAir: <environment>/Easy/P000/image_left/...")
    register("airsim", f"{at}.airsim:AirSim", summary="AirSim recordings: airsim_rec.txt, images/img_..._0_....png")
    register(
        "carla-bench2drive", f"{at}.carla:CarlaBench2Drive", summary="Bench2Drive: <clip>/camera/rgb_front/00000.jpg"
    )
    register("carla-garage", f"{at}.carla:CarlaGarage", summary="carla_garage (TransFuser): <route>/rgb/0000.jpg, ...")
    register("carla-opv2v", f"{at}.carla:CarlaOpv2v", summary="OPV2V, V2XSet: <vehicle>/000069_camera0.png, ...")
    register("carla-shift", f"{at}.carla:CarlaShift", summary="SHIFT, unpacked: images/train/front/img/<sequence>/...")
    register(
        "carla-data-collector", f"{at}.carla:CarlaDataCollector", summary="CARLA (CoIL): episode_00000/CentralRGB_..."
    )
    register("carla-kitti", f"{at}.carla:CarlaKitti", summary="KITTI-CARLA: Town01/generated/images_rgb/0000_0.png")
    register(
        "nuimages", f"{at}.nuscenes:NuImages", summary="nuImages: samples/CAM_FRONT/..., v1.0-train/object_ann.json"
    )
    register("nuscenes", f"{at}.nuscenes:NuScenes", summary="nuScenes: samples/CAM_FRONT/..., v1.0-mini/scene.json")
    register("cityscapes", f"{at}.cityscapes:Cityscapes", summary="Cityscapes: leftImg8bit/train/aachen/...")
    register("gta5", f"{at}.gta5:Gta5", summary="GTA5: images/00001.png, labels/00001.png")
    register("synthia-rand", f"{at}.synthia:SynthiaRand", summary="SYNTHIA-RAND-CITYSCAPES: RGB, GT/LABELS, Depth")
    register("synthia-seqs", f"{at}.synthia:SynthiaSequences", summary="SYNTHIA-SEQS: RGB/Stereo_Left/Omni_F/...")
    register("bdd100k", f"{at}.bdd100k:Bdd100k", summary="BDD100K: images/10k/train/0a0a0b1a-7c39d841.jpg, labels/...")
    register("mapillary-vistas", f"{at}.mapillary:MapillaryVistas", summary="Mapillary Vistas: training/images/...")
    register("kitti-flow2015", f"{at}.kitti:KittiFlow2015", summary="KITTI stereo, flow and scene flow 2015")
    register(
        "kitti-raw", f"{at}.kitti:KittiRaw", summary="KITTI raw drives: 2011_09_26_drive_0001_sync/image_02/data/..."
    )
    register("kitti-depth", f"{at}.kitti:KittiDepth", summary="KITTI depth, selected frames: val_selection_cropped/...")
    register("kitti-odometry", f"{at}.kitti:KittiOdometry", summary="KITTI odometry: sequences/00/image_2/...")
    register("kitti-tracking", f"{at}.kitti:KittiTracking", summary="KITTI tracking: training/image_02/0000/...")
    register(
        "kitti-semantics", f"{at}.kitti:KittiSemantics", summary="KITTI semantics 2015: training/{image_2,semantic}/..."
    )
    register("kitti-object", f"{at}.kitti:KittiObject", summary="KITTI object: training/{image_2,label_2,calib}/...")
    register("labelme", f"{at}.labelme:LabelMe", summary="LabelMe: 0001.jpg, 0001.json with its shapes")
    register(
        "labelme-export",
        f"{at}.labelme:LabelMeExport",
        summary="LabelMe, exported: 0001_json/{img,label,label_viz}.png",
    )
    register("voc", f"{at}.voc:PascalVOC", summary="Pascal VOC: JPEGImages, Annotations, SegmentationClass, ...")
    register("coco", f"{at}.coco:Coco", summary="COCO: annotations/instances_*.json, panoptic PNGs, and their images")
    register("yolo", f"{at}.yolo:Yolo", summary="YOLO: images/.../0001.jpg, labels/.../0001.txt")
    register("cyclegan", f"{at}.cyclegan:CycleGAN", summary="CycleGAN folders: trainA, trainB, testA, testB")
    register("kaggle-monet", f"{at}.cyclegan:KaggleMonet", summary="Kaggle's gan-getting-started: monet_jpg, photo_jpg")
    register("images", f"{at}.images:Images", summary="any folder of images; everything else is carried")


@hookimpl
def register_metrics(register: Register) -> None:  # noqa: D103
    at = "sim2real.metrics"
    register("sliced-wasserstein", f"{at}.wasserstein:SlicedWassersteinMetric", summary="patches of all scales")
    register("colour", f"{at}.colour:ColourMetric", summary="earth mover's distance of colours")
    register("spectrum", f"{at}.spectrum:SpectrumMetric", summary="power spectra: fine texture, blur, noise")
    register("two-sample", f"{at}.two_sample:TwoSampleMetric", summary="can a classifier tell converted from real?")
    register("kid", f"{at}.features:KernelMetric", summary="kernel distance of a network's features; needs its weights")
    register("frechet", f"{at}.features:FrechetMetric", summary="Frechet distance of a network's features; likewise")
    register(
        "fid", f"{at}.inception:FrechetInceptionMetric", summary="FID, of 2000 pictures or more; needs its weights"
    )
    register("lpips", f"{at}.perceptual:LpipsMetric", summary="how much a frame's look has changed; needs weights")
    register("edges", f"{at}.edges:EdgeMetric", summary="shares of edges that are new, and that are lost")
    register(
        "structure", f"{at}.structure:StructureMetric", summary="edges at the labels' outlines, within and in skies"
    )
    register("contrast", f"{at}.contrast:ContrastMetric", summary="how clearly each class stands out")
    register(
        "objects", f"{at}.objects:ObjectsMetric", summary="is what the boxes tell of still found? needs a detector"
    )


@hookimpl
def register_engines(register: Register) -> None:  # noqa: D103
    register("torch", "sim2real.engines.torch:TorchEngine", summary="PyTorch on the CPU or a GPU")


@hookimpl
def register_recipes(register: Register) -> None:  # noqa: D103
    recipes = {
        "default": "driving frames on the hardware at hand; what `train SIM REAL` uses",
        "vkitti2kitti": "Virtual KITTI to KITTI at 1024x256, patch and global critics",
        "monet2photo": "paintings and photos at 128x128, batch normalisation",
        "resnet9-sigmoid": "256x256, ResNet-9 and a PatchGAN with a sigmoid",
        "cyclegan-256": "256x256, the patch critic alone",
        "cyclegan": "the reference CycleGAN at 256x256, ResNet-9 and PatchGAN 70x70",
        "reinhard": "seconds, no training: the real images' mean and spread of colours",
        "histogram": "seconds, no training: the histograms of a real image, drawn for each frame",
        "pixel-distribution": "seconds, no training: the mean and covariance of a real image's colours",
        "fda": "seconds, no training: the low frequencies of a real image (Fourier Domain Adaptation)",
        "augment": "seconds, no training: strong hand-made augmentation, frame by frame",
    }
    for name, summary in recipes.items():
        register(name, f"sim2real.recipes:{name}.toml", summary=summary)


@hookimpl
def register_commands(register: Register) -> None:  # noqa: D103
    commands = {
        "init": "write a commented sim2real.toml",
        "batch": "the whole job: train, convert, verify, evaluate, report; a rerun continues",
        "train": "learn the look of real images from unpaired folders",
        "convert": "convert a dataset; every label stays true",
        "preview": "a picture of frames before and after",
        "inspect": "what a dataset is: layout, frames, roles, labels",
        "verify": "is a conversion complete and are its labels untouched?",
        "evaluate": "does a conversion look more real, and do its labels hold?",
        "report": "one HTML file of a training or of a conversion",
        "export": "write a generator as ONNX, compared with torch",
        "plugins": "what is installed; check it; scaffold a plugin",
        "datasets": "the dataset layouts that can be named",
        "recipes": "the recipes that can be named, and what is in one",
        "hypersim-previews": "make images of Hypersim's linear colours",
        "toytown": "render a small labelled dataset",
        "demo": "the whole story on a rendered toy town, in minutes",
    }
    for name, summary in commands.items():
        register(name, f"sim2real.cli.{name.replace('-', '_')}:command", summary=summary)
